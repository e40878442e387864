"""Check a restored database: what it holds, and what the server says of its structure."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.engines._common import compare
from orchestrator.engines.mongodb.catalogue import Described, describe, inventory
from orchestrator.engines.mongodb.connection import MISSING_COMMAND, Server, code_of, connect, target_of
from orchestrator.engines.mongodb.reading import count
from orchestrator.engines.mongodb.restore import MARK, dropping
from orchestrator.model.engine import Item, Original
from orchestrator.model.errors import Interrupted, ResguardoError, RestoreFailed, RightsMissing
from orchestrator.model.execution import Executor, Finding

MOST = 20  # findings of one kind; more help nobody
NO_SWAP = "a MongoDB server cannot rename a database, and a copy of its collections is not all or nothing"
NO_SWAP_HINT = (
    "restore it with --as NAME beside it, or drop the old one and restore: docs/databases/mongodb.md says how"
)


def verify(item: Item, to: str, expected: Mapping[str, int], at: Executor) -> list[Finding]:
    """See orchestrator.model.engine.Engine; nothing is changed."""
    limit = item.source.timeout
    try:
        with connect(target_of(item.source, at, "restore"), limit) as server:
            found = describe(server, to)
            if not found:
                return [Finding("error", f"there is no database {to!r}", "restore it")]
            if any(each.entry.collection == MARK for each in found):
                return [Finding("error", f"the restore of {to!r} did not come to its end", dropping(to))]
            return [*_compared(server, to, found, expected, limit), *_validated(server, to, found, limit)]
    except Interrupted:
        raise
    except ResguardoError as error:
        return [Finding("error", f"database {to!r} cannot be checked: {error.message}", error.hint)]


def _compared(
    server: Server, to: str, found: list[Described], expected: Mapping[str, int], limit: float
) -> list[Finding]:
    if not expected:
        return [Finding("info", f"no counts were stored for {to!r}: its documents are not compared")]
    counts = inventory(found)
    findings = []
    for each in found:
        if each.body is None:
            continue
        name = each.body[1] if each.body[1] in expected else each.entry.collection
        counts[name] = count(server, (to, name), limit)
        if counts[name] < expected.get(name, 0) and _expires(each):
            text = f"{to!r}: {expected[name] - counts[name]} documents of {name!r} have expired since they were stored"
            findings.append(Finding("warning", text, "an index with expireAfterSeconds removes them"))
            counts[name] = expected[name]
    return [*findings, *compare(counts, expected, to)[:MOST]]


def _expires(each: Described) -> bool:
    return "expireAfterSeconds" in each.options or any("expireAfterSeconds" in index for index in each.indexes)


def _validated(server: Server, to: str, found: list[Described], limit: float) -> list[Finding]:
    """Let the server check every collection against its indexes, where it can."""
    findings: list[Finding] = []
    for each in found:
        if each.body is None:
            continue
        name = each.body[1]
        try:
            told = server.command(to, {"validate": name, "full": True}, limit)
        except RightsMissing:
            return [Finding("info", f"{to!r}: collections were not validated", "that needs the role dbAdmin")]
        except ResguardoError as error:
            if code_of(error) == MISSING_COMMAND:
                return [Finding("info", f"{to!r}: collections were not validated: the server has no such command")]
            raise
        if not told.get("valid", False):
            reasons = "; ".join(map(str, told.get("errors", ())))[:500]
            findings.append(Finding("error", f"{to!r}: collection {name!r} is not valid: {reasons}".rstrip(": .")))
    return findings[:MOST]


def original(item: Item) -> Original:
    """An in-place restore cannot be all or nothing here."""
    return Original(findings=(Finding("error", f"database {item.name!r}: {NO_SWAP}", NO_SWAP_HINT),))


def no_swap(item: Item) -> RestoreFailed:
    """Return why nothing was swapped."""
    return RestoreFailed(f"database {item.name!r} was not replaced: {NO_SWAP}", NO_SWAP_HINT)
