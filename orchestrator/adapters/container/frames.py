"""The Engine's multiplexed stream: frames of `stream(1 byte), 0 0 0, size(4, big endian), bytes`.

Source: Docker Engine API, "Attach to a container", stream format.
"""

from __future__ import annotations

import struct

STDOUT, STDERR = 1, 2
_HEADER = struct.Struct(">BxxxL")


class Frames:
    """Takes the stream apart as it comes, in whatever pieces."""

    def __init__(self) -> None:
        self._kind = 0
        self._left = 0
        self._head = b""

    @property
    def whole(self) -> bool:
        """Whether the stream is between two frames: at its end anything else means that it was cut."""
        return not self._left and not self._head

    def take(self, data: memoryview) -> list[tuple[int, memoryview]]:
        """Return (stream, bytes) in order; the bytes are views into `data`. Raises ValueError."""
        found = []
        while data:
            if not self._left:
                data = self._header(data)
                continue
            piece = data[: self._left]
            found.append((self._kind, piece))
            self._left -= len(piece)
            data = data[len(piece) :]
        return found

    def _header(self, data: memoryview) -> memoryview:
        missing = _HEADER.size - len(self._head)
        self._head += bytes(data[:missing])
        if len(self._head) == _HEADER.size:
            self._kind, self._left = _HEADER.unpack(self._head)
            if self._kind not in (0, STDOUT, STDERR, 3):
                raise ValueError(f"not a frame of the Docker Engine: {self._head!r}")
            self._head = b""
        return data[missing:]
