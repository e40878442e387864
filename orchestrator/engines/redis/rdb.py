"""Reads a snapshot (RDB) to its last byte without keeping it: what it holds, and that nothing of it is missing.

Each key is stepped over by the layout of its type, so that keys are counted exactly and the end mark is found where it
must be. A type that is not known here ends the counting, not the check: from there on only the checksum and the end
mark are looked at. Sources: rdb.h and rdb.c of Redis 8.0 and Valkey 9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.engines.redis.crc64 import Crc64
from orchestrator.model.errors import ResguardoError

MAGICS = (b"REDIS", b"VALKEY")
HEADER = 9  # bytes of magic and version, in both
SMALLEST = HEADER + 9  # with the end mark and the checksum
_END = 0xFF
_CHECKSUM = 8
_FIRST_WITH_CHECKSUM = 5  # version of the format

Pull = Callable[[], bytes]


class Damaged(ResguardoError):
    """A snapshot is cut short or damaged."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the snapshot is not whole: {problem}", "see the server's log; restore another point")


class _Unknown(Exception):
    """A type that this reader does not know: its length cannot be told."""


@dataclass
class Contents:
    """What a snapshot holds. keys, expiring: by database · blind: why keys were not counted, "" when they were ·
    checked: whether it has a checksum (a server can be told not to make one).
    """

    magic: str = ""
    version: int = 0
    aux: dict[str, str] = field(default_factory=dict)
    keys: dict[int, int] = field(default_factory=dict)
    expiring: dict[int, int] = field(default_factory=dict)
    functions: int = 0
    bytes: int = 0
    checked: bool = True
    blind: str = ""

    @property
    def total(self) -> int:
        """Keys of all databases."""
        return sum(self.keys.values())

    @property
    def counts(self) -> dict[str, int]:
        """For a manifest: `keys`, `functions`, and per database `dbN` and `dbN expiring`; empty when not counted."""
        if self.blind:
            return {}
        found = {"keys": self.total, "functions": self.functions}
        found |= {f"db{number}": count for number, count in self.keys.items() if count}
        return found | {f"db{number} expiring": count for number, count in self.expiring.items() if count}


class Reader:
    """Steps through the blocks that `pull` returns; after the last one `pull` returns b""."""

    __slots__ = ("_at", "_buffer", "_pull", "_sum", "_tail", "size")

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self._buffer = b""
        self._at = 0
        self._sum = Crc64()
        self._tail = b""
        self.size = 0

    def _next(self) -> bytes:
        block = self._pull()
        if block:
            self._sum.update(block)
            self.size += len(block)
            self._tail = (self._tail + block[-_CHECKSUM - 1 :])[-_CHECKSUM - 1 :]
        return block

    def _fill(self, size: int) -> None:
        """Have at least `size` bytes from here on."""
        parts = [self._buffer[self._at :]]
        have = len(parts[0])
        while have < size:
            block = self._next()
            if not block:
                raise Damaged(f"it ends after {self.size} bytes, in the middle")
            parts.append(block)
            have += len(block)
        self._buffer, self._at = b"".join(parts), 0

    def byte(self) -> int:
        """Return the next byte."""
        if self._at >= len(self._buffer):
            self._fill(1)
        value = self._buffer[self._at]
        self._at += 1
        return value

    def take(self, size: int) -> bytes:
        """Return the next bytes; only for small things."""
        if self._at + size > len(self._buffer):
            self._fill(size)
        start, self._at = self._at, self._at + size
        return self._buffer[start : self._at]

    def skip(self, size: int) -> None:
        """Step over bytes, which may be more than memory holds."""
        self._at += size
        while self._at > len(self._buffer):
            left = self._at - len(self._buffer)
            self._buffer = self._next()
            if not self._buffer:
                raise Damaged(f"it ends after {self.size} bytes, in the middle")
            self._at = left

    def length(self) -> int:
        """Read a length or a number."""
        first = self.byte()
        if first < 0x40:
            return first
        if first < 0x80:
            return (first & 0x3F) << 8 | self.byte()
        if first == 0x80:
            return int.from_bytes(self.take(4))
        if first == 0x81:
            return int.from_bytes(self.take(8))
        raise Damaged(f"byte {self.size - len(self._buffer) + self._at - 1} is no length")

    def string(self) -> None:
        """Step over a string."""
        first = self.byte()
        if first < 0x40:
            self.skip(first)
        elif first < 0xC0:
            self._at -= 1
            self.skip(self.length())
        elif first < 0xC3:
            self.skip(1 << (first & 3))
        elif first == 0xC3:
            packed = self.length()
            self.length()
            self.skip(packed)
        else:
            raise Damaged(f"{first:#x} is no kind of string")

    def text(self) -> str:
        """Return a short string; "" for one that is packed."""
        first = self.byte()
        if 0xC0 <= first < 0xC3:
            return str(int.from_bytes(self.take(1 << (first & 3)), "little", signed=True))
        self._at -= 1
        if first >= 0xC3:
            self.string()
            return ""
        return self.take(min(self.length(), 1 << 16)).decode("utf-8", "replace")

    def rest(self) -> int:
        """Read all that is left; return how many bytes that was."""
        left = len(self._buffer) - self._at
        self._buffer, self._at = b"", 0
        while block := self._next():
            left += len(block)
        return left

    def assert_end(self) -> bool:
        """See that the end mark and a right checksum come last; return whether there is a checksum. Raises Damaged."""
        if len(self._tail) <= _CHECKSUM or self._tail[0] != _END:
            raise Damaged(f"it does not end with its mark after {self.size} bytes")
        if self._tail[1:] == bytes(_CHECKSUM):
            return False
        if self._sum.value:  # of data and its own checksum, which follows them: nothing is left
            raise Damaged(f"its {self.size} bytes do not have the checksum that it tells")
        return True


def read(pull: Pull) -> Contents:
    """Read a snapshot to its end. Raises Damaged, and what `pull` raises."""
    reader = Reader(pull)
    contents = _header(reader)
    try:
        _walk(reader, contents)
    except _Unknown as unknown:
        contents.blind = str(unknown)
    left = reader.rest()
    if not contents.blind and left != (_CHECKSUM if contents.version >= _FIRST_WITH_CHECKSUM else 0):
        raise Damaged(f"{left} bytes follow its end mark, not {_CHECKSUM}")
    contents.bytes = reader.size
    contents.checked = contents.version >= _FIRST_WITH_CHECKSUM and reader.assert_end()
    return contents


def _header(reader: Reader) -> Contents:
    head = reader.take(HEADER)
    magic = next((known for known in MAGICS if head.startswith(known)), None)
    if magic is None or not head[len(magic) :].isdigit():
        raise Damaged(f"it begins with {head!r}")
    return Contents(magic.decode(), int(head[len(magic) :]))


def _walk(reader: Reader, contents: Contents) -> None:
    steps = _VALKEY if contents.magic == "VALKEY" else _REDIS
    keys, expiring, expires, database = 0, 0, 0, -1

    def close() -> None:
        if database >= 0 or keys:
            contents.keys[max(0, database)] = contents.keys.get(max(0, database), 0) + keys
            contents.expiring[max(0, database)] = contents.expiring.get(max(0, database), 0) + expiring

    while True:
        code = reader.byte()
        step = steps.get(code)
        if step is not None:
            reader.string()
            step(reader)
            keys += 1
            expiring += expires
            expires = 0
        elif code == 0xFC:  # when the next key expires, milliseconds
            reader.skip(8)
            expires = 1
        elif code == 0xFD:  # the same in seconds
            reader.skip(4)
            expires = 1
        elif code == 0xFE:  # the keys that follow are of this database
            close()
            keys, expiring, database = 0, 0, reader.length()
        elif code == _END:
            return close()
        else:
            _other(reader, contents, code)


def _other(reader: Reader, contents: Contents, code: int) -> None:
    """Step over what is no key."""
    if code == 0xFA:  # a fact about the snapshot
        name = reader.text()
        contents.aux[name] = reader.text()
    elif code == 0xFB:  # sizes of the database's tables
        _lengths(reader, 2)
    elif code == 0xF9:  # how often the next key was used
        reader.skip(1)
    elif code == 0xF8:  # how long the next key was not used
        reader.length()
    elif code == 0xF7:  # a module's own
        _lengths(reader, 3)
        _module_values(reader)
    elif code == 0xF5:  # a library of functions
        reader.string()
        contents.functions += 1
    elif code == 0xF4:  # sizes of a cluster's slot
        _lengths(reader, 3)
    else:
        raise _Unknown(f"it holds something of type {code}, which is not known here")


def _lengths(reader: Reader, count: int) -> None:
    for _ in range(count):
        reader.length()


def _strings(per_element: int) -> Callable[[Reader], None]:
    def step(reader: Reader) -> None:
        for _ in range(reader.length() * per_element):
            reader.string()

    return step


def _old_scores(reader: Reader) -> None:
    for _ in range(reader.length()):
        reader.string()
        size = reader.byte()  # 253 to 255 are not a number, and the infinities
        reader.skip(size if size < 253 else 0)


def _scores(reader: Reader) -> None:
    for _ in range(reader.length()):
        reader.string()
        reader.skip(8)


def _packed_lists(reader: Reader) -> None:
    for _ in range(reader.length()):
        reader.length()
        reader.string()


def _module(reader: Reader) -> None:
    reader.length()
    _module_values(reader)


def _module_values(reader: Reader) -> None:
    while kind := reader.length():
        if kind in {1, 2}:
            reader.length()
        elif kind in {3, 4}:
            reader.skip(4 if kind == 3 else 8)
        elif kind == 5:
            reader.string()
        else:
            raise Damaged(f"{kind} is no kind of value of a module")


def _stream(generation: int) -> Callable[[Reader], None]:
    def step(reader: Reader) -> None:
        for _ in range(reader.length() * 2):
            reader.string()
        _lengths(reader, 3 if generation == 1 else 8)
        for _ in range(reader.length()):
            reader.string()
            _lengths(reader, 2 if generation == 1 else 3)
            for _ in range(reader.length()):  # what was delivered and not acknowledged
                reader.skip(24)
                reader.length()
            for _ in range(reader.length()):
                _consumer(reader, 8 if generation < 3 else 16)

    return step


def _consumer(reader: Reader, times: int) -> None:
    reader.string()
    reader.skip(times)
    reader.skip(16 * reader.length())


def _fields_with_times(reader: Reader) -> None:
    for _ in range(reader.length()):
        reader.length()
        reader.string()
        reader.string()


def _after_time(step: Callable[[Reader], None]) -> Callable[[Reader], None]:
    def both(reader: Reader) -> None:
        reader.skip(8)
        step(reader)

    return both


def _fields_then_times(reader: Reader) -> None:
    for _ in range(reader.length()):
        reader.string()
        reader.string()
        reader.skip(8)


_one = Reader.string
_COMMON: dict[int, Callable[[Reader], None]] = {
    0: _one,  # string
    1: _strings(1),  # list
    2: _strings(1),  # set
    3: _old_scores,  # sorted set
    4: _strings(2),  # hash
    5: _scores,  # sorted set
    7: _module,
    **dict.fromkeys((9, 10, 11, 12, 13, 16, 17, 20), _one),  # packed into one string
    14: _strings(1),  # list
    15: _stream(1),
    18: _packed_lists,
    19: _stream(2),
    21: _stream(3),
}
_REDIS = {
    **_COMMON,
    22: _fields_with_times,  # hash whose fields expire
    23: _one,
    24: _after_time(_fields_with_times),
    25: _after_time(_one),
}
_VALKEY = {**_COMMON, 22: _fields_then_times}
