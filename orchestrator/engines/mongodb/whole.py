"""Whether an archive that a program made holds what the server has: one that leaves something out may end well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.engines.mongodb.catalogue import Described, describe, from_json
from orchestrator.engines.mongodb.connection import ANSWER_LIMIT, Server
from orchestrator.engines.mongodb.moment import Oplog
from orchestrator.engines.mongodb.producing import Production
from orchestrator.model.errors import DumpFailed, Interrupted, ResguardoError
from orchestrator.model.execution import Finding

_HINT = "dump it again; set dumper to driver when it stays so"
_EXACT = int((ANSWER_LIMIT - 5) * 1000)  # milliseconds


@dataclass(frozen=True)
class Expected:
    """What a database had before a program dumped it. documents: as the server's own books tell."""

    found: Sequence[Described]
    documents: Mapping[str, int]


def expected(server: Server, database: str) -> Expected:
    """Look before the dump. Raises as `Server.ask`."""
    found = describe(server, database)
    return Expected(found, {each.entry.collection: _booked(server, each) for each in _countable(found)})


def assert_whole(server: Server, oplog: Oplog, before: Expected, production: Production) -> Sequence[Finding]:
    """See that nothing that was there before and after is missing. Raises DumpFailed, and as `Server.ask`."""
    if not before.found:
        return ()
    database = before.found[0].entry.db
    steady = [(old, new) for old, new in _pairs(before.found, describe(server, database)) if old.uuid == new.uuid]
    told = production.sink.prelude
    metadata = {each.collection: each.metadata for each in told.entries} if told else {}
    if missing := [old.entry.collection for old, _ in steady if old.entry.collection not in metadata]:
        what = f"{len(missing)} collections, the first is" if len(missing) > 1 else "the collection"
        raise DumpFailed(f"the dump lacks {what} {missing[0]!r}", _HINT)
    for old, new in steady:
        if old.indexes == new.indexes and old.entry.type == "collection":
            _assert_indexes(old, metadata[old.entry.collection])
    checks = (_documents(server, oplog, old, before, production) for old in _countable(old for old, _ in steady))
    return tuple(finding for finding in checks if finding)


def _pairs(before: Iterable[Described], after: Iterable[Described]) -> Iterator[tuple[Described, Described]]:
    there = {each.entry.collection: each for each in after}
    return ((each, there[each.entry.collection]) for each in before if each.entry.collection in there)


def _countable(found: Iterable[Described]) -> list[Described]:
    """A time series is dumped as buckets, which hold several of its documents."""
    return [each for each in found if each.entry.type == "collection"]


def _assert_indexes(each: Described, metadata: str) -> None:
    stored = {str(index.get("name")) for index in (from_json(metadata) if metadata else {}).get("indexes", ())}
    if missing := sorted({str(index.get("name")) for index in each.indexes} - stored):
        raise DumpFailed(f"the dump lacks the index {missing[0]!r} of {each.entry.collection!r}", _HINT)


def _booked(server: Server, each: Described) -> int:
    """Return the number that a server keeps, which may be wrong after a crash and in a sharded cluster."""
    return int(server.command(each.entry.db, {"count": each.entry.collection})["n"])


def _counted(server: Server, each: Described) -> int | None:
    """Return the exact number, None where that takes too long."""
    command = {"aggregate": each.entry.collection, "cursor": {}, "maxTimeMS": _EXACT}
    pipeline = [{"$group": {"_id": 1, "n": {"$sum": 1}}}]
    try:
        found = server.listed(each.entry.db, command | {"pipeline": pipeline})
    except Interrupted:
        raise
    except ResguardoError:
        return None
    return int(found[0]["n"]) if found else 0


def _documents(
    server: Server, oplog: Oplog, each: Described, before: Expected, production: Production
) -> Finding | None:
    """Compare numbers where nobody wrote: the oplog says so, or books that are right and did not change."""
    name = each.entry.collection
    dumped, now = production.counts.get(name, 0), _booked(server, each)
    if dumped == now:
        return None
    exact = _counted(server, each)
    written = oplog.written(each.entry.db)
    if exact == dumped or written:
        return None
    if exact is None:
        text = f"{name!r}: {dumped} documents were stored, and the server speaks of {now}: it could not count them"
        return Finding("warning", text, _HINT)
    if written is False or before.documents[name] == now == exact:
        raise DumpFailed(f"the dump holds {dumped} documents of {name!r} instead of {exact}", _HINT)
    return None
