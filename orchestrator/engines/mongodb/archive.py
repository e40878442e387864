"""mongodump's archive, format 0.1: written, and read so strictly that a whole one is told from any other.

    magic · BSON {concurrent_collections, version, server_version, tool_version}
    a BSON description of each collection {db, collection, metadata, size, type} · TERM
    blocks: BSON {db, collection, EOF: false, CRC: 0}, documents, TERM; those of several collections may alternate
    the last block of each collection: BSON {db, collection, EOF: true, CRC}, TERM

There is no mark at the end of the whole: an archive is complete when each described collection had its last block and
its documents have that block's CRC-64/XZ. Source: mongo-tools, common/archive, and archives exchanged with it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.engines.mongodb.crc64 import crc64
from orchestrator.model.errors import DataDamaged

MAGIC = b"\x6d\xe2\x99\x81"
TERM = b"\xff\xff\xff\xff"
VERSION = "0.1"
LARGEST = (16 << 20) + (16 << 10)  # bytes of a document that a server stores itself; users' ones end at 16 MiB
BUCKETS = "system.buckets."
_TYPES = ("collection", "view", "timeseries", "")
_SIZE = struct.Struct("<i")

Namespace = tuple[str, str]  # database, collection


@dataclass(frozen=True)
class Entry:
    """A collection as an archive describes it. metadata: canonical Extended JSON, options and indexes in it."""

    db: str
    collection: str
    metadata: str = ""
    type: str = "collection"

    @property
    def namespace(self) -> Namespace:
        """Where it was."""
        return self.db, self.collection

    @property
    def bodies(self) -> tuple[Namespace, ...]:
        """Under which names its documents may come: a time series may be dumped as the buckets that it lies in."""
        if self.type != "timeseries":
            return (self.namespace,)
        return self.namespace, (self.db, BUCKETS + self.collection)


@dataclass(frozen=True)
class Prelude:
    """What an archive says before its documents."""

    entries: tuple[Entry, ...]
    server: str
    tool: str


@dataclass(frozen=True)
class Body:
    """Whole documents of one collection, one after the other. namespace: that of the block, maybe a time series'
    buckets."""

    entry: Entry
    namespace: Namespace
    data: bytes
    documents: int


@dataclass(frozen=True)
class End:
    """A collection is whole."""

    entry: Entry


Event = Prelude | Body | End


def prelude(entries: Sequence[Entry], server: str, tool: str) -> bytes:
    """Return an archive's beginning."""
    import bson  # noqa: PLC0415 - drivers are imported when used

    head = {"concurrent_collections": 1, "version": VERSION, "server_version": server, "tool_version": tool}
    described = [
        {"db": each.db, "collection": each.collection, "metadata": each.metadata, "size": 0, "type": each.type}
        for each in entries
    ]
    return b"".join((MAGIC, bson.encode(head), *map(bson.encode, described), TERM))


def block(namespace: Namespace) -> bytes:
    """Return the beginning of a block; documents and TERM follow."""
    return _header(namespace, 0, last=False)


def end(namespace: Namespace, crc: int) -> bytes:
    """Return a collection's last block, whole."""
    return _header(namespace, crc, last=True) + TERM


def _header(namespace: Namespace, crc: int, *, last: bool) -> bytes:
    import bson  # noqa: PLC0415 - drivers are imported when used

    (signed,) = struct.unpack("<q", struct.pack("<Q", crc))
    header = {"db": namespace[0], "collection": namespace[1], "EOF": last, "CRC": bson.Int64(signed)}
    return bson.encode(header)


class Reader:
    """Takes an archive in pieces of any size and tells what they hold; keeps no more than one document.

    Every doubt raises DataDamaged.
    """

    def __init__(self) -> None:
        self._documents: dict[Entry, int] = {}
        self._buffer = bytearray()
        self._at = 0  # bytes before the buffer, for messages
        self._step: Callable[[int, list[Event]], int | None] = self._magic
        self._header: Mapping[str, Any] = {}
        self._described: list[Entry] = []
        self._bodies: dict[Namespace, Entry] = {}
        self._used: dict[Entry, Namespace] = {}
        self._crc: dict[Entry, int] = {}
        self._ended: set[Entry] = set()
        self._current: tuple[Entry, Namespace] | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Return what these bytes complete."""
        self._buffer += data
        events: list[Event] = []
        position = 0
        while (after := self._step(position, events)) is not None:
            position = after
        del self._buffer[:position]
        self._at += position
        return events

    def close(self) -> None:
        """See that nothing is missing. Raises DataDamaged."""
        if self._step != self._block or self._buffer:
            raise self._wrong("it ends in the middle", len(self._buffer))
        missing = [entry for entry in self._described if entry not in self._ended]
        if missing:
            name = missing[0].collection
            raise self._wrong(f"{len(missing)} collections are not complete, the first is {name!r}")

    def counts(self) -> list[tuple[Entry, Namespace, int]]:
        """Return each described collection, under which name its documents came, and how many by now."""
        return [(entry, self._used.get(entry, entry.namespace), count) for entry, count in self._documents.items()]

    def _wrong(self, text: str, position: int = 0) -> DataDamaged:
        return DataDamaged(f"not a whole archive: {text} (at byte {self._at + position})", "restore another point")

    def _magic(self, position: int, events: list[Event]) -> int | None:
        del events
        if not MAGIC.startswith(self._buffer[:4]):
            raise self._wrong(f"it begins with {bytes(self._buffer[:4]).hex()}")
        if len(self._buffer) < len(MAGIC):
            return None
        self._step = self._head
        return position + len(MAGIC)

    def _size(self, position: int) -> int | None:
        """Return the size of the document at a place, -1 for a TERM, None while it has not come whole."""
        if len(self._buffer) - position < 4:
            return None
        size: int = _SIZE.unpack_from(self._buffer, position)[0]
        if size == -1:
            return size
        if not 5 <= size <= LARGEST:
            raise self._wrong(f"a document of {size} bytes", position)
        if len(self._buffer) - position < size:
            return None
        if self._buffer[position + size - 1]:
            raise self._wrong("a document has no end", position)
        return size

    def _document(self, position: int, size: int) -> dict[str, Any]:
        import bson  # noqa: PLC0415 - drivers are imported when used

        try:
            found: dict[str, Any] = bson.decode(bytes(self._buffer[position : position + size]))
        except (bson.errors.BSONError, ValueError) as error:
            raise self._wrong(f"a document cannot be read: {error}", position) from error
        return found

    def _head(self, position: int, events: list[Event]) -> int | None:
        del events
        size = self._size(position)
        if size is None:
            return None
        self._header = self._document(position, size) if size > 0 else {}
        if self._header.get("version") != VERSION:
            raise self._wrong(f"its version is {self._header.get('version')!r}, not {VERSION!r}", position)
        self._step = self._description
        return position + size

    def _description(self, position: int, events: list[Event]) -> int | None:
        size = self._size(position)
        if size is None:
            return None
        if size == -1:
            told = (str(self._header.get(key, "")) for key in ("server_version", "tool_version"))
            events.append(Prelude(tuple(self._described), *told))
            self._step = self._block
            return position + len(TERM)
        self._describe(self._document(position, size), position)
        return position + size

    def _describe(self, found: Mapping[str, Any], position: int) -> None:
        fields = [found.get(key) for key in ("db", "collection", "metadata", "type")]
        if not all(isinstance(field, str) for field in fields):
            raise self._wrong("a collection is not described as it should be", position)
        entry = Entry(*map(str, fields))
        if entry.type not in _TYPES:
            raise self._wrong(f"{entry.collection!r} is a {entry.type!r}", position)
        for namespace in entry.bodies:
            if namespace in self._bodies:
                raise self._wrong(f"{entry.collection!r} is described twice", position)
            self._bodies[namespace] = entry
        self._described.append(entry)
        self._crc[entry] = self._documents[entry] = 0

    def _block(self, position: int, events: list[Event]) -> int | None:
        size = self._size(position)
        if size is None:
            return None
        if size == -1:
            raise self._wrong("a block without a header", position)
        header = self._document(position, size)
        entry, namespace = self._owner(header, position)
        if header["EOF"] is False:
            self._current = entry, namespace
            self._step = self._body
            return position + size
        if header["CRC"] & (1 << 64) - 1 != self._crc[entry]:
            raise self._wrong(f"the documents of {entry.collection!r} do not have its checksum", position)
        self._ended.add(entry)
        events.append(End(entry))
        self._step = self._term
        return position + size

    def _owner(self, header: Mapping[str, Any], position: int) -> tuple[Entry, Namespace]:
        """Return whose block this is, and the name that it says."""
        types = {"db": str, "collection": str, "EOF": bool, "CRC": int}
        if header.keys() != types.keys() or not all(isinstance(header[key], kind) for key, kind in types.items()):
            raise self._wrong("a block's header has other fields", position)
        namespace = header["db"], header["collection"]
        entry = self._bodies.get(namespace)
        if entry is None:
            raise self._wrong(f"documents of {'.'.join(namespace)!r}, which is not described", position)
        if entry in self._ended:
            raise self._wrong(f"more of {entry.collection!r} after its end", position)
        if self._used.setdefault(entry, namespace) != namespace:
            raise self._wrong(f"{entry.collection!r} comes under two names", position)
        if not header["EOF"] and header["CRC"] != 0:
            raise self._wrong(f"a checksum before the end of {entry.collection!r}", position)
        return entry, namespace

    def _body(self, position: int, events: list[Event]) -> int | None:
        """Take as many whole documents as there are, and the TERM after them."""
        assert self._current is not None  # noqa: S101 - set with this step
        first, count = position, 0
        while (size := self._size(position)) is not None and size > 0:
            position += size
            count += 1
        if count:
            entry, namespace = self._current
            data = bytes(memoryview(self._buffer)[first:position])
            self._crc[entry] = crc64(data, self._crc[entry])
            self._documents[entry] += count
            events.append(Body(entry, namespace, data, count))
        if size == -1:
            self._step = self._block
            return position + len(TERM)
        return position if count else None

    def _term(self, position: int, events: list[Event]) -> int | None:
        del events
        size = self._size(position)
        if size is None:
            return None
        if size != -1:
            raise self._wrong("documents after a collection's end", position)
        self._step = self._block
        return position + len(TERM)
