from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.adapters.container import gate
from orchestrator.adapters.container.frames import STDERR, STDOUT, Frames

PIECES = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=40)), max_size=12)


def encoded(pieces: list[tuple[int, bytes]]) -> bytes:
    return b"".join(struct.pack(">BxxxL", kind, len(data)) + data for kind, data in pieces)


@given(pieces=PIECES, cuts=st.lists(st.integers(min_value=0, max_value=600), max_size=30))
def test_a_stream_is_the_same_in_whatever_pieces_it_comes(pieces: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = encoded(pieces)
    frames = Frames()
    found: dict[int, bytes] = {STDOUT: b"", STDERR: b""}
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in pairwise(places):
        for kind, piece in frames.take(memoryview(data[start:end])):
            found[kind] += bytes(piece)
    assert found == {kind: b"".join(each for which, each in pieces if which == kind) for kind in found}
    assert frames.whole


def test_a_cut_stream_is_not_whole() -> None:
    data = encoded([(STDOUT, b"a dump")])
    for length in range(1, len(data)):
        frames = Frames()
        frames.take(memoryview(data[:length]))
        assert not frames.whole


def test_what_is_not_the_engines_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="not a frame"):
        Frames().take(memoryview(b"HTTP/1.1 500"))


def test_a_secrets_line_holds_none_of_it_as_it_is() -> None:
    line = gate.lines({"password": b"secret\n%s"}).splitlines()[1]
    assert b"secret" not in line
    assert line.startswith(b"\\0163\\0145")
