"""Small files that lie in memory alone: what a program reads, and no other process finds."""

from __future__ import annotations

import os


def memory_file(name: str, content: bytes) -> int:
    """Return a descriptor, at its beginning, of a file that holds `content`; the caller closes it. Raises OSError."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd
