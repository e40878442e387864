"""What several engines share: comparing counts, exchanging paths, and knowing who uses a file."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack, suppress

from orchestrator.model.execution import Finding, PutBack, Undo
from orchestrator.model.failpoints import reach

_OCTAL = re.compile(rb"\\([0-7]{3})")  # how mountinfo writes space, tab, newline and backslash
_AT_FDCWD = -100  # <fcntl.h>
_RENAME_EXCHANGE = 2  # <linux/fs.h>


def compare(found: Mapping[str, int], expected: Mapping[str, int], where: str) -> tuple[Finding, ...]:
    """Return one error for each object whose count is not the expected one; nothing expected is nothing wrong."""
    if not expected:
        return ()
    wrong = []
    for name in sorted({*found, *expected}):
        here, stored = found.get(name), expected.get(name)
        if here != stored:
            have, want = ("nothing" if count is None else str(count) for count in (here, stored))
            wrong.append(Finding("error", f"{where!r}: {name!r} holds {have}, {want} was stored"))
    return tuple(wrong)


def sync_folder(folder: str) -> None:
    """Make names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def exchange(one: str, other: str) -> bool:
    """Exchange two paths of one filesystem in one step (renameat2, RENAME_EXCHANGE); False where that is not known.

    Raises OSError as rename(2) does.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return False
    if library.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(code, os.strerror(code), one, None, other)


def put_in_place(new: str, path: str, keep: str, back: ExitStack, undo: Undo) -> None:
    """Put `new` in the place of `path`; where the kernel can, in one step, so that `path` is never missing.

    `new` lies in what is removed when we are killed, so the old tree must never stand there: the new one gets the name
    `keep` first, and changes places from there.
    """
    if not os.path.lexists(path):
        os.rename(new, path)
        back.callback(os.rename, path, new)
        return
    os.rename(new, keep)
    reach("restore.aside")
    try:
        exchanged = exchange(keep, path)
    except OSError:
        os.rename(keep, new)
        raise
    if exchanged:
        back.callback(os.rename, keep, new)
        back.callback(exchange, keep, path)
        reach("restore.exchanged")
    else:
        os.rename(keep, new)
        _move_in_steps(new, path, keep, back, undo)


def _move_in_steps(new: str, path: str, keep: str, back: ExitStack, undo: Undo) -> None:
    """Put `new` in the place of `path` by two renames: a kill between them gives the original its name back."""
    action = undo.register(PutBack(path, keep))
    os.rename(path, keep)
    back.callback(os.rename, keep, path)
    reach("restore.parted")
    os.rename(new, path)
    back.callback(os.rename, path, new)
    undo.done(action)


def mounts_below(path: str) -> list[str]:
    """Return where something is mounted below a path, links resolved. Source: proc(5), mountinfo, field 5."""
    inside = os.fsencode(os.path.realpath(path)).rstrip(b"/") + b"/"
    with open("/proc/self/mountinfo", "rb") as stream:
        points = [_OCTAL.sub(_character, line.split(b" ")[4]) for line in stream]
    return [os.fsdecode(point) for point in points if point.startswith(inside)]


def _character(escape: re.Match[bytes]) -> bytes:
    return bytes([int(escape[1], 8)])


def users_of(files: set[tuple[int, int]]) -> list[str]:
    """Return the processes that have one of these files (device, inode) open, as `name (PID)`.

    Without root only our own processes can be looked into; inside a container, only its own.
    """
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if any(_same(f"/proc/{pid}/fd/{fd}", files) for fd in os.listdir(f"/proc/{pid}/fd")):
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    found.append(f"{file.read().strip()} ({pid})")
    return found


def _same(link: str, files: set[tuple[int, int]]) -> bool:
    with suppress(OSError):
        status = os.stat(link)
        return (status.st_dev, status.st_ino) in files
    return False
