"""Reading snapshots: what servers wrote long ago, what nobody knows yet, and any way of cutting them into blocks."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from orchestrator.engines.redis.crc64 import Crc64
from orchestrator.engines.redis.rdb import Contents, Damaged, read


def checksum(data: bytes) -> bytes:
    made = Crc64()
    made.update(data)
    return made.value.to_bytes(8, "little")


def snapshot(body: bytes, head: bytes = b"REDIS0011", *, sound: bool = True) -> bytes:
    data = head + body + b"\xff"
    return data + (checksum(data) if sound else bytes(8))


def blocks(data: bytes, size: int) -> Callable[[], bytes]:
    left = iter([data[begin : begin + size] for begin in range(0, len(data), size)])
    return lambda: next(left, b"")


def of(data: bytes, size: int = 1 << 20) -> Contents:
    return read(blocks(data, size))


def text(content: bytes) -> bytes:
    """A string with the length in each of its forms, by turns."""
    if len(content) < 64:
        return bytes([len(content)]) + content
    if len(content) < 1 << 14:
        return bytes([0x40 | len(content) >> 8, len(content) & 0xFF]) + content
    return b"\x80" + len(content).to_bytes(4) + content


KEY = text(b"key")
PACKED = b"\xc3\x05\x14" + b"\x01" * 5  # five bytes that unpack to twenty
STRINGS = [text(b""), text(b"abc"), text(b"x" * 100), text(b"y" * 20_000), b"\xc0\x05", b"\xc1\x05\x00",
           b"\xc2\x05\x00\x00\x00", PACKED, b"\x81" + (3).to_bytes(8) + b"abc"]  # fmt: skip
VALUES: dict[str, bytes] = {
    **{f"string {n}": b"\x00" + KEY + content for n, content in enumerate(STRINGS)},
    "list": b"\x01" + KEY + b"\x03" + STRINGS[1] + PACKED + STRINGS[4],
    "set": b"\x02" + KEY + b"\x02" + STRINGS[0] + STRINGS[2],
    "sorted set, scores as text": b"\x03" + KEY + b"\x04" + (STRINGS[1] + b"\x033.5") * 2 + STRINGS[1] + b"\xfe"
    + STRINGS[1] + b"\xff",
    "hash": b"\x04" + KEY + b"\x02" + STRINGS[1] * 4,
    "sorted set": b"\x05" + KEY + b"\x02" + (STRINGS[1] + bytes(8)) * 2,
    "module": b"\x07" + KEY + b"\x81" + bytes(7) + b"\x01" + b"\x02\x05" + b"\x01\x40\x41" + b"\x03" + bytes(4)
    + b"\x04" + bytes(8) + b"\x05" + STRINGS[2] + b"\x00",
    **{f"packed {kind}": bytes([kind]) + KEY + STRINGS[3] for kind in (9, 10, 11, 12, 13, 16, 17, 20)},
    "quick list": b"\x0e" + KEY + b"\x02" + STRINGS[3] * 2,
    "quick list 2": b"\x12" + KEY + b"\x02" + b"\x01" + STRINGS[3] + b"\x02" + STRINGS[2],
    "stream": b"\x0f" + KEY + b"\x01" + text(bytes(16)) + STRINGS[2] + b"\x05\x01\x00"
    + b"\x01" + text(b"group") + b"\x01\x00" + b"\x01" + bytes(24) + b"\x01"
    + b"\x01" + text(b"consumer") + bytes(8) + b"\x01" + bytes(16),
    "stream 2": b"\x13" + KEY + b"\x01" + text(bytes(16)) + STRINGS[2] + b"\x05\x01\x00\x01\x00\x00\x00\x05"
    + b"\x01" + text(b"group") + b"\x01\x00\x02" + b"\x00" + b"\x01" + text(b"consumer") + bytes(8) + b"\x00",
    "stream 3": b"\x15" + KEY + b"\x00" + b"\x05\x01\x00\x01\x00\x00\x00\x05"
    + b"\x01" + text(b"group") + b"\x01\x00\x02" + b"\x00" + b"\x01" + text(b"consumer") + bytes(16) + b"\x00",
    "hash whose fields expire": b"\x18" + KEY + bytes(8) + b"\x02" + (b"\x05" + STRINGS[1] * 2) * 2,
    "packed hash whose fields expire": b"\x19" + KEY + bytes(8) + STRINGS[3],
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_every_type_is_stepped_over(name: str) -> None:
    found = of(snapshot(b"\xfe\x00" + VALUES[name] + b"\x00" + KEY + STRINGS[1]))
    assert found.blind == ""
    assert found.counts == {"keys": 2, "functions": 0, "db0": 2}


def test_all_at_once_in_any_blocks() -> None:
    choice = random.Random(3)
    body = b"\xfa\x09redis-ver\x067.0.15\xfa\x05ctime\xc2\x01\x02\x03\x04\xf5" + text(b"#!lua name=x")
    for number in (0, 3, 200):
        body += b"\xfe" + (bytes([number]) if number < 64 else b"\x40" + bytes([number])) + b"\xfb\x05\x01"
        body += b"".join(VALUES.values()) + b"\xfc" + bytes(8) + VALUES["set"] + b"\xfd" + bytes(4) + VALUES["list"]
        body += b"\xf8\x05\xf9\x07" + VALUES["hash"] + b"\xf4\x01\x02\x03"
    data = snapshot(body + b"\xf7\x05\x02\x01\x02\x05\x00")
    whole = of(data)
    each = len(VALUES) + 3
    assert whole.counts == {"keys": 3 * each, "functions": 1} | {
        name: count for db in (0, 3, 200) for name, count in ((f"db{db}", each), (f"db{db} expiring", 2))
    }
    assert whole.aux == {"redis-ver": "7.0.15", "ctime": str(0x04030201)}
    for size in (1, 2, 3, 7, 64, 4096, choice.randrange(8, 5000)):
        assert of(data, size) == whole


def test_cut_anywhere_is_damaged() -> None:
    data = snapshot(b"\xfe\x00" + b"".join(VALUES.values()))
    for end in [*range(40), *range(len(data) - 40, len(data)), *random.Random(4).sample(range(len(data)), 200)]:
        with pytest.raises(Damaged):
            of(data[:end])


def test_a_turned_bit_is_damage() -> None:
    data = snapshot(b"\xfe\x00" + b"".join(VALUES.values()))
    for place in random.Random(5).sample(range(9, len(data)), 300):
        with pytest.raises(Damaged):
            of(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])


def test_more_than_the_snapshot_is_damage() -> None:
    with pytest.raises(Damaged, match="follow its end mark"):
        of(snapshot(b"") + b"x")


def test_what_is_not_known_ends_the_counting_alone() -> None:
    body = b"\xfe\x00" + VALUES["set"] + b"\x63" + b"something new" * 1000
    found = of(snapshot(body))
    assert "type 99" in found.blind
    assert found.counts == {}
    assert found.checked
    for bad in (snapshot(body)[:-1], snapshot(body)[:-9], snapshot(body) + b"x"):
        with pytest.raises(Damaged):
            of(bad)


def test_without_a_checksum() -> None:
    assert not of(snapshot(b"\xfe\x00" + VALUES["set"], sound=False)).checked
    old = of(b"REDIS0003\xfe\x00" + VALUES["set"] + b"\xff")
    assert (old.version, old.checked, old.total) == (3, False, 1)


def test_valkey() -> None:
    """Its own beginning, and a type that has the number of another one."""
    body = b"\xfe\x00\x16" + KEY + b"\x02" + (STRINGS[1] * 2 + bytes(8)) * 2
    found = of(snapshot(body, b"VALKEY080"))
    assert (found.magic, found.version, found.counts["db0"]) == ("VALKEY", 80, 1)


@pytest.mark.parametrize("data", [b"", b"REDIS", b"REDISabcd\xff", b"<html>this is not a snapshot</html>"])
def test_no_snapshot(data: bytes) -> None:
    with pytest.raises(Damaged):
        of(data)
