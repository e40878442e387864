"""The checksum of snapshots, against its definition bit by bit."""

from __future__ import annotations

import random

import pytest

from orchestrator.engines.redis.crc64 import DISTANCES, REVERSED, Crc64


def slow(data: bytes) -> int:
    """The definition."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (REVERSED if value & 1 else 0)
    return value


def of(*blocks: bytes) -> int:
    made = Crc64()
    for block in blocks:
        made.update(block)
    return made.value


def test_the_published_check_value() -> None:
    assert of(b"123456789") == 0xE9C6D914C4B8D9CA


def test_the_distances_are_those_of_a_multiple_of_the_polynomial() -> None:
    """Dividing 1 + y^2569 + … by the polynomial leaves nothing."""
    modulus = REVERSED << 1 | 1
    rest = sum(1 << distance for distance in (0, *DISTANCES))
    while rest.bit_length() >= modulus.bit_length():
        rest ^= modulus << rest.bit_length() - modulus.bit_length()
    assert rest == 0


@pytest.mark.parametrize("size", [0, 1, 7, 5324, 5325, 5326, 10_650, 65_535, 65_536, 65_537, 131_072, 200_003])
def test_any_size(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert of(data) == slow(data)


def test_any_blocks() -> None:
    choice = random.Random(7)
    data = choice.randbytes(300_000)
    for _ in range(5):
        cuts = sorted(choice.randrange(len(data)) for _ in range(choice.randrange(1, 40)))
        blocks = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert of(*blocks) == of(data)
    assert of(data) == slow(data)


def test_it_can_be_asked_on_the_way() -> None:
    data = random.Random(1).randbytes(100_000)
    made = Crc64()
    made.update(data[:70_000])
    assert made.value == slow(data[:70_000])
    made.update(data[70_000:])
    assert made.value == slow(data)


def test_data_and_its_checksum_leave_nothing() -> None:
    data = random.Random(2).randbytes(100_000)
    assert of(data, slow(data).to_bytes(8, "little")) == 0
    damaged = bytearray(data)
    damaged[50_000] ^= 1
    assert of(bytes(damaged), slow(data).to_bytes(8, "little")) != 0
