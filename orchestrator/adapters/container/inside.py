"""Looking into a running container's files from this host, as its own processes see them.

Every path is resolved by the kernel below the container's root (openat2, RESOLVE_IN_ROOT), so that no link in there
leads out to this host's files.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

_OPENAT2 = 437  # the same on all architectures
_RESOLVE_IN_ROOT = 0x10
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class Hidden(Exception):
    """We may not look from here: no root, or the container's processes are not on this host."""


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def locate(pid: int, path: str) -> int | None:
    """Return an O_PATH descriptor of what is at `path` in the root of process `pid`; None: nothing. Raises Hidden."""
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Hidden from error
    try:
        return _open_below(root, path)
    finally:
        os.close(root)


def _open_below(root: int, path: str) -> int | None:
    how = _How(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT)
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.syscall(_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if fd >= 0:
        return fd
    number = ctypes.get_errno()
    if number in _NOTHING:
        return None
    raise Hidden(os.strerror(number))


def reach(pid: int, path: str) -> tuple[int, str] | None:
    """Return a path of this process that leads to `path` inside, and the descriptor that keeps it good; None: nothing.

    It keeps the name of what is not a folder, unless that is a link. Raises Hidden.
    """
    found = locate(pid, path)
    if found is None:
        return None
    status = os.fstat(found)
    if not stat.S_ISDIR(status.st_mode):
        folder = locate(pid, os.path.dirname(path))
        name = os.path.basename(path)
        if folder is not None:
            if os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), status):
                os.close(found)
                return folder, f"/proc/self/fd/{folder}/{name}"
            os.close(folder)
    return found, f"/proc/self/fd/{found}"


def status(pid: int, path: str) -> os.stat_result | None:
    """Return what stat(2) says there, None when nothing is. Raises Hidden."""
    fd = locate(pid, path)
    if fd is None:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def is_program(pid: int, path: str) -> bool:
    """Whether an executable file is there. Raises Hidden."""
    found = status(pid, path)
    return found is not None and stat.S_ISREG(found.st_mode) and bool(found.st_mode & 0o111)
