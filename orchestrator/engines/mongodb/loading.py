"""Load an archive into a new database: options, documents, indexes, views; then compare what the server made of it."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.engines.mongodb.archive import BUCKETS, Body, Entry, Event, Prelude, Reader
from orchestrator.engines.mongodb.catalogue import describe, from_json, is_ours, to_json
from orchestrator.engines.mongodb.connection import Server, code_of
from orchestrator.model.errors import DataDamaged, ResguardoError, RestoreFailed
from orchestrator.model.execution import Finding

_MOST = 10_000  # documents in one insert
_ROOM = 8 << 20  # bytes after which they are sent
_EMPTY_TIMESTAMPS = 25  # wire version from which an insert can be told to leave Timestamp(0, 0) as it is: 8.0
_EXISTS, _INVALID_OPTIONS = 48, 72  # mongod's error codes
_SIZE = struct.Struct("<i")
_ANSWER = 300.0  # seconds for one batch
_CHOSEN = ("v", "ns", "background")  # of indexes: what a server decides, and says of no use


class Loading:
    """One archive on its way into the database `to`. Fed with bytes; `finish` when all came and their verdict is good.

    limit: seconds for building the indexes of a collection · made: takes the names of the collections and views that it
    creates. Raises RestoreFailed, DataDamaged, as `Server.ask`.
    """

    def __init__(self, server: Server, to: str, limit: float, made: set[str]) -> None:
        self._server, self._to, self._limit, self._made = server, to, limit, made
        self._reader = Reader()
        self._told: dict[Entry, dict[str, Any]] = {}
        self._waiting: dict[str, list[bytes]] = {}
        self._bytes = 0
        self._inserted: dict[Entry, int] = {}
        self._names: dict[str, Entry] = {}
        wire = int(server.command("admin", {"hello": 1}).get("maxWireVersion", 0))
        self._bypass = {"bypassEmptyTsReplacement": True} if wire >= _EMPTY_TIMESTAMPS else {}
        self.findings: list[Finding] = []

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        for event in self._reader.feed(data):
            self._take(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, Prelude):
            self._prepare(event)
        elif isinstance(event, Body) and event.entry in self._told:
            self._keep(event)

    def finish(self) -> list[Finding]:
        """Send the rest, build what comes after the documents, and compare."""
        self._reader.close()
        self._send_all()
        for entry, namespace, documents in self._reader.counts():
            if entry in self._told and self._inserted.get(entry, 0) != documents:
                text = f"{namespace[1]!r}: {self._inserted.get(entry, 0)} of {documents} documents were taken"
                raise RestoreFailed(text, "see the server's log")
        for entry, told in self._told.items():
            self._index(entry, told)
        for entry, told in self._told.items():
            if _is_view(told):
                self._create(entry, told)
        return [*self.findings, *self._compared()]

    def _prepare(self, prelude: Prelude) -> None:
        databases = {entry.db for entry in prelude.entries}
        if len(databases) > 1:
            text = f"the archive holds {len(databases)} databases, or an oplog"
            raise RestoreFailed(text, "restore it by hand: docs/databases/mongodb.md says how")
        for entry in prelude.entries:
            if not is_ours(entry.collection):
                text = f"{entry.collection!r} is the server's own, and is not restored"
                self.findings.append(Finding("info", text))
                continue
            try:
                told = from_json(entry.metadata) if entry.metadata else {}
            except (ValueError, TypeError) as error:
                raise DataDamaged(f"{entry.collection!r} is described in a way that cannot be read: {error}") from error
            self._told[entry] = told
            if not _is_view(told):
                self._create(entry, told)

    def _create(self, entry: Entry, told: Mapping[str, Any]) -> None:
        options = {key: value for key, value in (told.get("options") or {}).items() if key != "uuid"}
        try:
            self._made_by_us(entry.collection, options)
            return
        except ResguardoError as error:
            series = options.get("timeseries") or {}
            if code_of(error) != _INVALID_OPTIONS or not {"granularity", "bucketMaxSpanSeconds"} <= series.keys():
                raise _refused(f"{entry.collection!r} cannot be created", error) from error
        # Servers tell both of a time series, and some take only the first back, from which the second follows.
        options["timeseries"] = {key: value for key, value in series.items() if key != "bucketMaxSpanSeconds"}
        self._made_by_us(entry.collection, options)

    def _made_by_us(self, name: str, options: Mapping[str, Any]) -> None:
        self._made.add(name)  # also when the answer is lost
        try:
            self._server.command(self._to, {"create": name, **options})
        except ResguardoError as error:
            if code_of(error) == _EXISTS:  # somebody else has made it
                self._made.discard(name)
            raise

    def _keep(self, body: Body) -> None:
        name = body.namespace[1]
        self._names[name] = body.entry
        documents = self._waiting.setdefault(name, [])
        for document in split(body.data):
            documents.append(document)
            self._bytes += len(document)
            if len(documents) >= _MOST or self._bytes >= _ROOM:
                self._send_all()
                documents = self._waiting.setdefault(name, [])

    def _send_all(self) -> None:
        for name, documents in self._waiting.items():
            self._send(name, documents)
        self._waiting.clear()
        self._bytes = 0

    def _send(self, name: str, documents: Sequence[bytes]) -> None:
        from bson.raw_bson import RawBSONDocument  # noqa: PLC0415 - drivers are imported when used

        if not documents:
            return
        command = {"insert": name, "ordered": True, "bypassDocumentValidation": True, **self._bypass}
        command["documents"] = [RawBSONDocument(document) for document in documents]
        try:
            told = self._server.command(self._to, command, _ANSWER)
        except ResguardoError as error:
            raise _refused(f"documents of {name!r} cannot be inserted", error) from error
        wrong = [*told.get("writeErrors", ()), *filter(None, [told.get("writeConcernError")])]
        if wrong:
            text = f"documents of {name!r} were refused: {wrong[0].get('errmsg', 'no reason given')}"
            hint = "restore it on a server of the version that it was dumped from" if name.startswith(BUCKETS) else None
            raise RestoreFailed(text.rstrip("."), hint or "see the server's log")
        entry = self._names[name]
        self._inserted[entry] = self._inserted.get(entry, 0) + int(told.get("n", 0))

    def _index(self, entry: Entry, told: Mapping[str, Any]) -> None:
        specs = [_without(index, "ns") for index in told.get("indexes") or () if not _is_given(index)]
        if not specs or _is_view(told):
            return
        try:
            self._server.command(self._to, {"createIndexes": entry.collection, "indexes": specs}, self._limit)
        except ResguardoError as error:
            raise _refused(f"the indexes of {entry.collection!r} cannot be built", error) from error

    def _compared(self) -> Iterator[Finding]:
        """Say what the server made otherwise: some ignore what they do not know."""
        there = {each.entry.collection: each for each in describe(self._server, self._to)}
        for entry, told in self._told.items():
            made = there.get(entry.collection)
            if made is None:
                yield Finding("error", f"the server did not keep {entry.collection!r}", "see the server's log")
                continue
            now = from_json(made.entry.metadata)
            if _told_options(told) != _told_options(now):
                text = f"{entry.collection!r} has other options than it had: {_told_options(now)}"
                yield Finding("warning", text, f"they were: {_told_options(told)}")
            before, after = _told_indexes(told), _told_indexes(now)
            for name in sorted(before.keys() | after.keys()) if not _is_view(told) else ():
                if before.get(name) != after.get(name):
                    text = f"index {name!r} of {entry.collection!r} is not as it was: {after.get(name, 'not there')}"
                    yield Finding("warning", text, f"it was: {before.get(name, 'not there')}")


def split(data: bytes) -> Iterator[bytes]:
    """Yield the documents of a sequence that the reader found whole."""
    position = 0
    while position < len(data):
        size: int = _SIZE.unpack_from(data, position)[0]
        yield data[position : position + size]
        position += size


def _refused(text: str, error: ResguardoError) -> ResguardoError:
    """Keep what an error is, when it is more than a refusal."""
    if type(error) is not ResguardoError:
        return error
    return RestoreFailed(f"{text}: {error.message}", error.hint)


def _is_view(told: Mapping[str, Any]) -> bool:
    return "viewOn" in (told.get("options") or {}) and "timeseries" not in (told.get("options") or {})


def _is_given(index: Mapping[str, Any]) -> bool:
    """Whether an index comes with its collection."""
    return list((index.get("key") or {}).items()) == [("_id", 1)] or bool(index.get("clustered"))


def _without(document: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in keys}


def _told_options(told: Mapping[str, Any]) -> str:
    options = _without(told.get("options") or {}, "uuid")
    if isinstance(options.get("timeseries"), Mapping):  # it follows from the granularity
        options["timeseries"] = _without(options["timeseries"], "bucketMaxSpanSeconds")
    return to_json(dict(sorted(options.items())))


def _told_indexes(told: Mapping[str, Any]) -> dict[str, str]:
    return {
        str(index.get("name")): to_json({"key": index.get("key"), **dict(sorted(_without(index, *_CHOSEN).items()))})
        for index in told.get("indexes") or ()
    }
