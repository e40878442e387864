"""Bytes that are already there, handed on through a pipe."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def memory_pipe(data: bytes) -> Iterator[int]:
    """Give the readable end of a pipe that ends after `data`."""
    read, write = os.pipe()

    def pour() -> None:
        with suppress(BrokenPipeError), open(write, "wb", buffering=0) as stream:
            view = memoryview(data)
            while view:
                view = view[stream.write(view) or 0 :]

    thread = threading.Thread(target=pour, name="mongodb-globals", daemon=True)
    thread.start()
    try:
        yield read
    finally:
        os.close(read)
        thread.join(5.0)
