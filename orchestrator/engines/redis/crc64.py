"""The checksum at the end of a snapshot: CRC-64 with Jones' polynomial, as Redis and Valkey compute it.

A loop over bytes does 10 MB/s, so Python's long integers do the work, some hundred MB/s. The message is one number
whose lowest bit is its first. 1 + y^2569 + y^2961 + … + y^5325 is a multiple of the polynomial (a test divides it),
hence so is each of its squares, whose exponents are doubled. A bit may therefore be dropped when it is added to the
bits at these distances behind it: so the first bits, thousands in one step, are folded into the next ones and cut off,
until the few that are left are worth the loop.
"""

from __future__ import annotations

REVERSED = 0x95AC9329AC4BC9B5  # the polynomial 0xad93d23594c935a9, bits reversed
DISTANCES = (2569, 2961, 4203, 4709, 4791, 5111, 5325)
_NEAREST = DISTANCES[0]
_NEEDED = DISTANCES[0] + DISTANCES[-1]  # bits: those cut off, and as far as they reach
_LEAST = 3  # doublings: whole bytes are cut off
_PIECE = 1 << 16  # bytes folded at a time: they stay in a processor's cache


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        rest = value
        for _ in range(8):
            rest = rest >> 1 ^ (REVERSED if rest & 1 else 0)
        table.append(rest)
    return tuple(table)


_TABLE = _table()


class Crc64:
    """The checksum of what was given to `update` so far."""

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._waiting = 0
        self._number = 0  # what is left of the message, `_bits` long
        self._bits = 0

    def update(self, block: bytes) -> None:
        """Go on with these bytes."""
        self._pending.append(block)
        self._waiting += len(block)
        if self._waiting >= _PIECE:
            self._fold_pending()

    def _fold_pending(self) -> None:
        data = b"".join(self._pending)
        self._pending.clear()
        self._waiting = 0
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self._number ^= int.from_bytes(piece, "little") << self._bits
            self._bits += 8 * len(piece)
            self._fold()

    def _fold(self) -> None:
        number, bits, doublings = self._number, self._bits, _LEAST
        while _NEEDED << doublings + 1 <= bits:
            doublings += 1
        while doublings >= _LEAST:
            cut = _NEAREST << doublings
            mask = (1 << cut) - 1
            while _NEEDED << doublings <= bits:
                first = number & mask
                number >>= cut
                bits -= cut
                folded = first
                for distance in DISTANCES[1:]:
                    folded ^= first << (distance - _NEAREST << doublings)
                number ^= folded
            doublings -= 1
        self._number, self._bits = number, bits

    @property
    def value(self) -> int:
        """The checksum; 0 when data was followed by its own checksum."""
        self._fold_pending()
        value, table = 0, _TABLE
        for byte in self._number.to_bytes(self._bits // 8, "little"):
            value = value >> 8 ^ table[(value ^ byte) & 0xFF]
        return value
