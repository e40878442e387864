"""The archive format: a strict reader, fed in pieces of any size, and a writer whose archives it takes."""

from __future__ import annotations

import os
import random
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engines.mongodb.archive import (
    BUCKETS,
    LARGEST,
    MAGIC,
    TERM,
    Body,
    End,
    Entry,
    Event,
    Prelude,
    Reader,
    block,
    end,
    prelude,
)
from orchestrator.engines.mongodb.crc64 import crc64, slow_crc64
from orchestrator.engines.mongodb.loading import split
from orchestrator.model.errors import DataDamaged

ONE, TWO, VIEW = Entry("shop", "one", "{}"), Entry("shop", "two", "{}"), Entry("shop", "seen", "{}", "view")
SERIES = Entry("shop", "measure", "{}", "timeseries")


def documents(*numbers: int) -> bytes:
    return b"".join(bson.encode({"_id": number}) for number in numbers)


def body(entry: Entry, data: bytes, name: str = "") -> bytes:
    return block((entry.db, name or entry.collection)) + data + TERM


def last(entry: Entry, data: bytes = b"") -> bytes:
    return end(entry.namespace, crc64(data))


def read(data: bytes, step: int = 1 << 20) -> list[Event]:
    reader = Reader()
    events = [event for at in range(0, len(data), step) for event in reader.feed(data[at : at + step])]
    reader.close()
    return events


GOOD = b"".join(
    (
        prelude([ONE, TWO, VIEW], "8.0.1", "100.9"),
        body(ONE, documents(1, 2)),
        body(TWO, documents(7)),
        body(ONE, documents(3)),
        last(TWO, documents(7)),
        last(VIEW),
        last(ONE, documents(1, 2, 3)),
    )
)


@pytest.mark.parametrize("step", [1, 3, 64, 1 << 20])
def test_blocks_that_alternate_are_told_apart(step: int) -> None:
    events = read(GOOD, step)
    assert events[0] == Prelude((ONE, TWO, VIEW), "8.0.1", "100.9")
    found: dict[Entry, bytes] = {}
    for event in events:
        if isinstance(event, Body):
            assert event.documents == len(list(split(event.data)))
            found[event.entry] = found.get(event.entry, b"") + event.data
    assert found == {ONE: documents(1, 2, 3), TWO: documents(7)}
    assert [event.entry for event in events if isinstance(event, End)] == [TWO, VIEW, ONE]


def test_it_is_the_format_that_is_documented() -> None:
    assert prelude([], "8.0.1", "x")[:4] == MAGIC == bytes.fromhex("6de29981")
    head = bson.decode(prelude([], "8.0.1", "x")[4:-4])
    assert head == {"concurrent_collections": 1, "version": "0.1", "server_version": "8.0.1", "tool_version": "x"}
    entry = bson.decode(prelude([ONE], "", "")[len(prelude([], "", "")) - 4 : -4])
    assert list(entry) == ["db", "collection", "metadata", "size", "type"]
    assert bson.decode(block(ONE.namespace)) == {"db": "shop", "collection": "one", "EOF": False, "CRC": 0}
    told = bson.decode(end(ONE.namespace, 0x995DC9BBDF1939FA)[:-4])
    assert struct.pack("<q", told["CRC"]) == struct.pack("<Q", 0x995DC9BBDF1939FA)


def test_checksum_is_the_catalogued_one() -> None:
    assert crc64(b"123456789") == slow_crc64(b"123456789", 0) == 0x995DC9BBDF1939FA
    assert crc64(b"6789", crc64(b"12345")) == crc64(b"123456789")
    assert slow_crc64(b"6789", slow_crc64(b"12345", 0)) == 0x995DC9BBDF1939FA


@given(st.binary(), st.binary())
def test_both_checksums_agree(first: bytes, second: bytes) -> None:
    assert crc64(second, crc64(first)) == slow_crc64(first + second, 0)


def header(**fields: Any) -> bytes:
    return bson.encode({"db": "shop", "collection": "one", "EOF": False, "CRC": bson.Int64(0)} | fields)


HEAD = prelude([ONE], "", "")
THREE = documents(1, 2, 3)
WHOLE = HEAD + body(ONE, THREE) + last(ONE, THREE)
WRONG = {
    "nothing": (b"", "in the middle"),
    "wrong magic": (b"\x1f\x8b" + WHOLE[2:], "begins with 1f"),
    "another version": (MAGIC + bson.encode({"version": "0.2"}) + TERM, "version is '0.2'"),
    "no version": (MAGIC + TERM, "version is None"),
    "no end of the prelude": (HEAD[:-4], "in the middle"),
    "no last block": (HEAD + body(ONE, THREE), "1 collections are not complete, the first is 'one'"),
    "no last block of an empty one": (HEAD, "'one'"),
    "no last block of a view": (prelude([ONE, VIEW], "", "") + last(ONE), "'seen'"),
    "wrong checksum": (HEAD + body(ONE, THREE) + last(ONE, documents(1, 2)), "checksum"),
    "a document less": (HEAD + body(ONE, documents(1, 3)) + last(ONE, THREE), "checksum"),
    "a document changed": (HEAD + body(ONE, documents(1, 2, 4)) + last(ONE, THREE), "checksum"),
    "documents in another order": (HEAD + body(ONE, documents(2, 1, 3)) + last(ONE, THREE), "checksum"),
    "two terms": (HEAD + body(ONE, THREE) + TERM + last(ONE, THREE), "without a header"),
    "a namespace that the prelude lacks": (HEAD + body(TWO, THREE) + last(ONE), "'shop.two', which is not described"),
    "another database": (HEAD + body(Entry("other", "one"), THREE), "'other.one'"),
    "an end that the prelude lacks": (HEAD + last(ONE) + last(TWO), "'shop.two'"),
    "trailing bytes": (WHOLE + b"\0", "in the middle"),
    "trailing terms": (WHOLE + TERM, "without a header"),
    "more after the end": (WHOLE + body(ONE, THREE), "after its end"),
    "two ends": (WHOLE + last(ONE, THREE), "after its end"),
    "documents behind the end": (HEAD + end(ONE.namespace, 0)[:-4] + THREE + TERM, "after a collection's end"),
    "a fifth field": (HEAD + header(more=1) + THREE + TERM, "other fields"),
    "a field missing": (HEAD + bson.encode({"db": "shop", "collection": "one", "EOF": False}) + TERM, "other fields"),
    "an end that is a number": (HEAD + header(EOF=1) + THREE + TERM, "other fields"),
    "an early checksum": (HEAD + header(CRC=bson.Int64(5)) + THREE + TERM, "checksum before the end"),
    "described twice": (prelude([ONE, ONE], "", ""), "twice"),
    "an unknown type": (prelude([Entry("shop", "one", "{}", "table")], "", ""), "'table'"),
    "half described": (
        MAGIC + bson.encode({"version": "0.1"}) + bson.encode({"db": "shop"}) + TERM,
        "not described as",
    ),
    "a size below the smallest": (HEAD + block(ONE.namespace) + struct.pack("<i", 4) + b"\0" * 9, "of 4 bytes"),
    "a negative size": (HEAD + block(ONE.namespace) + struct.pack("<i", -2) + b"\0" * 9, "of -2 bytes"),
    "a size above the largest": (HEAD + block(ONE.namespace) + struct.pack("<i", LARGEST + 1), "bytes"),
    "a document without its end": (HEAD + block(ONE.namespace) + b"\x05\0\0\0\x01", "has no end"),
    "a header that is no document": (HEAD + b"\x0c\0\0\0\x99abc\0zz\0", "cannot be read"),
    "a series under two names": (
        prelude([SERIES], "", "") + body(SERIES, THREE) + body(SERIES, THREE, BUCKETS + "measure"),
        "two names",
    ),
}


@pytest.mark.parametrize("label", WRONG)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_whatever_is_not_whole_is_refused(label: str, step: int) -> None:
    data, said = WRONG[label]
    with pytest.raises(DataDamaged) as caught:
        read(data, step)
    assert said in caught.value.message
    assert caught.value.hint


def test_every_cut_is_noticed() -> None:
    for place in range(len(GOOD)):
        with pytest.raises(DataDamaged):
            read(GOOD[:place])


def test_every_flipped_bit_of_a_document_is_noticed() -> None:
    first = GOOD.index(documents(1, 2))
    for place in range(first, first + len(documents(1, 2))):
        damaged = bytearray(GOOD)
        damaged[place] ^= 1 << random.randrange(8)
        with pytest.raises(DataDamaged):
            read(bytes(damaged))


def test_a_series_may_come_as_its_buckets() -> None:
    name = BUCKETS + "measure"
    data = prelude([SERIES], "", "") + body(SERIES, THREE, name) + end(("shop", name), crc64(THREE))
    reader = Reader()
    reader.feed(data)
    reader.close()
    assert reader.counts() == [(SERIES, ("shop", name), 3)]


def test_an_empty_database_is_whole() -> None:
    assert read(prelude([], "8.0", "x")) == [Prelude((), "8.0", "x")]


def test_the_largest_document_passes_in_constant_memory() -> None:
    large = bson.encode({"_id": 1, "b": os.urandom(1 << 20) * 15})
    entry = Entry("shop", "large", "{}")
    reader = Reader()
    reader.feed(prelude([entry], "", ""))
    reader.feed(block(entry.namespace))
    tracemalloc.start()
    crc = 0
    for _ in range(4):
        crc = crc64(large, crc)
        for at in range(0, len(large), 1 << 18):
            reader.feed(large[at : at + (1 << 18)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    reader.feed(TERM + end(entry.namespace, crc))
    reader.close()
    assert peak < 3 * len(large), "more than a document and its copy is kept"


KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=8)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.binary(), KEYS)
DOCUMENTS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4).map(bson.encode), max_size=6)
NAMES = st.text(st.characters(exclude_characters="\0$", exclude_categories=("Cs",)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, DOCUMENTS, max_size=5), st.randoms(), st.integers(1, 200))
def test_what_is_written_is_read(found: dict[str, list[bytes]], chance: random.Random, step: int) -> None:
    entries = {name: Entry("d", name, "{}") for name in found}
    blocks = [(name, document) for name, each in found.items() for document in each]
    order = sorted(range(len(blocks)), key=lambda _n: chance.random())
    mixed: dict[str, list[bytes]] = {name: [] for name in found}
    data = [prelude(list(entries.values()), "8", "x")]
    for number in order:
        name, document = blocks[number]
        mixed[name].append(document)
        data.append(body(entries[name], document))
    data += [last(entries[name], b"".join(mixed[name])) for name in found]
    back: dict[str, bytes] = dict.fromkeys(found, b"")
    for event in read(b"".join(data), step):
        if isinstance(event, Body):
            back[event.entry.collection] += event.data
    assert back == {name: b"".join(each) for name, each in mixed.items()}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, len(GOOD)), st.integers(0, 8))
def test_noise_never_passes_for_a_whole_archive(noise: bytes, place: int, removed: int) -> None:
    damaged = GOOD[:place] + noise + GOOD[place + removed :]
    if damaged == GOOD:
        return
    try:
        events = read(damaged)
    except DataDamaged:
        return
    # only what carries no checksum of its own may differ: versions, metadata
    assert _bodies(events, lambda e: e.collection) == _bodies(read(GOOD), lambda e: e.collection)


def _bodies(events: list[Event], key: Callable[[Entry], str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for event in events:
        if isinstance(event, Body):
            found[key(event.entry)] = found.get(key(event.entry), b"") + event.data
    return found
