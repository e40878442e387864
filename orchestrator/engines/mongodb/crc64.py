"""CRC-64/XZ, the checksum of a mongodump archive: by liblzma (gigabytes a second), else in Python (slow, the same).

Source: the catalogue of CRC algorithms, CRC-64/XZ: check value 995dc9bbdf1939fa over "123456789".
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import cache

_POLYNOMIAL = 0xC96C5795D7870F42  # reflected
_ALL = (1 << 64) - 1
_LIBRARY = "liblzma.so.5"


def crc64(data: bytes, value: int = 0) -> int:
    """Continue a checksum over more bytes; 0 begins one."""
    return _chosen()(data, value)


@cache
def _chosen() -> Callable[[bytes, int], int]:
    with suppress(OSError, AttributeError):  # no such library here, or one without the function
        function = ctypes.CDLL(_LIBRARY).lzma_crc64
        function.restype = ctypes.c_uint64
        function.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64)
        return lambda data, value: int(function(data, len(data), value))
    return slow_crc64


@cache
def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


def slow_crc64(data: bytes, value: int = 0) -> int:
    """The same in plain Python."""
    table, value = _table(), value ^ _ALL
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ _ALL
