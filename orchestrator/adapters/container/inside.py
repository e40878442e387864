"""Looking into a running container's files from this host, as its own processes see them.

Every path is resolved by the kernel below the container's root (openat2, RESOLVE_IN_ROOT), so that no link in there
leads out to this host's files.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import asdict
from secrets import token_hex

from orchestrator.adapters.container.daemon import Container
from orchestrator.adapters.sentinel import OURS, remove_inside, start_of
from orchestrator.model.errors import DiskFull
from orchestrator.model.execution import RemoveInside, Undo

_OPENAT2 = 437  # the same on all architectures
_RESOLVE_IN_ROOT = 0x10
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class HiddenError(Exception):
    """We may not look from here: no root, or the container's processes are not on this host."""


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def locate(pid: int, path: str) -> int | None:
    """Return an O_PATH descriptor of what is at `path` in the root of process `pid`; None: nothing.

    Raises HiddenError.
    """
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise HiddenError from error
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
    raise HiddenError(os.strerror(number))


def status(pid: int, path: str) -> os.stat_result | None:
    """Return what stat(2) says there, None when nothing is. Raises HiddenError."""
    fd = locate(pid, path)
    if fd is None:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def is_program(pid: int, path: str) -> bool:
    """Whether an executable file is there. Raises HiddenError."""
    found = status(pid, path)
    return found is not None and stat.S_ISREG(found.st_mode) and bool(found.st_mode & 0o111)


# --- files of ours in there ------------------------------------------------------------------------------------------

_LARGE = 32 * 1024 * 1024  # bytes: half of what /dev/shm holds by default
_IN_MEMORY = ("/dev/shm", "/run", "/tmp")  # noqa: S108 - where a tmpfs may be
_ON_DISK = ("/var/tmp", "/tmp", "/var/lib")  # noqa: S108


def private_dir(container: Container, size: int, undo: Undo, place: str) -> str:
    """Make a 0700 folder that the container's own user owns, registered for removal. Raises HiddenError, DiskFull."""
    return _made(container, size, undo, place, container.user)[0]


def place_secrets(
    container: Container, secrets: Mapping[str, bytes], user: str | None, undo: Undo, place: str
) -> tuple[dict[str, str], Callable[[], None]]:
    """Write secrets into 0600 files, for an image without a shell; return their paths and what removes them.

    Raises HiddenError, DiskFull.
    """
    if not secrets:
        return {}, lambda: None
    owner = user or container.user
    folder, action, kept = _made(container, 0, undo, place, owner)

    def remove() -> None:
        if not remove_inside(asdict(action)):  # a problem is said by who undoes it at the end
            undo.done(kept)

    try:
        _fill(container, folder, secrets, owner)
    except OSError as error:
        remove()
        raise HiddenError(str(error)) from error
    except BaseException:
        remove()
        raise
    return {name: f"{folder}/{number}" for number, name in enumerate(secrets)}, remove


def _fill(container: Container, folder: str, secrets: Mapping[str, bytes], owner: str) -> None:
    opened = _folder(container.pid, folder)
    try:
        for number, content in enumerate(secrets.values()):
            _write(opened, str(number), content, ids(container.pid, owner))
    finally:
        os.close(opened)


def _made(container: Container, size: int, undo: Undo, place: str, user: str) -> tuple[str, RemoveInside, str]:
    """Make a folder in the first place that takes it."""
    owner = ids(container.pid, user)
    start = start_of(container.pid) or 0
    name = f"{OURS}{token_hex(8)}"
    for wanted in dict.fromkeys((*_ON_DISK, *_IN_MEMORY) if size > _LARGE else (*_IN_MEMORY, *_ON_DISK)):
        fd = locate(container.pid, wanted)
        if fd is None:
            continue
        try:
            real = os.readlink(f"/proc/self/fd/{fd}")
            path = os.path.join(real, name)
            action = RemoveInside(path, container.pid, start, _is_memory(container.pid, real), place)
            kept = undo.register(action)
            if _make(fd, name, owner):
                return path, action, kept
            undo.done(kept)
        finally:
            os.close(fd)
    raise DiskFull(f"{place}: no folder can be made in {', '.join(_IN_MEMORY)}", "give it a tmpfs at /dev/shm or /tmp")


def _make(fd: int, name: str, owner: tuple[int, int]) -> bool:
    """Make a folder of this owner; nothing is left where that cannot be. Raises OSError when it is left."""
    try:
        os.mkdir(name, 0o700, dir_fd=fd)
    except OSError:
        return False
    try:
        os.chown(name, *owner, dir_fd=fd, follow_symlinks=False)
    except OSError:
        os.rmdir(name, dir_fd=fd)
        return False
    return True


def _folder(pid: int, path: str) -> int:
    fd = locate(pid, path)
    if fd is None:
        raise HiddenError(path)
    return fd


def _write(folder: int, name: str, content: bytes, owner: tuple[int, int]) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    with open(fd, "wb") as stream:
        stream.write(content)
        os.fchown(fd, *owner)


def _is_memory(pid: int, path: str) -> bool:
    """Whether a path lies on a tmpfs there. Source: proc(5), mountinfo."""
    best, kind = "", ""
    for line in _lines(pid, "mountinfo"):
        mine, _, theirs = line.partition(" - ")
        point = mine.split(" ")[4]
        if f"{path}/".startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, theirs.split(" ")[0]
    return kind == "tmpfs"


def ids(pid: int, user: str) -> tuple[int, int]:
    """Return (uid, gid), as this host counts them, of a container's user: "", "name", "1000" or "name:group".

    Raises HiddenError.
    """
    name, _, group = (user or "0").partition(":")
    uid, gid = _entry(pid, "/etc/passwd", name)
    if group:
        gid = _entry(pid, "/etc/group", group)[0]
    return _outside(pid, "uid_map", uid), _outside(pid, "gid_map", gid)


def _entry(pid: int, file: str, name: str) -> tuple[int, int]:
    """Return the third and fourth field of the line of `name`; a number stands for itself."""
    fd = locate(pid, file)
    lines: list[str] = []
    if fd is not None:
        try:
            with open(f"/proc/self/fd/{fd}", encoding="utf-8", errors="replace") as stream:
                lines = stream.read(1 << 20).splitlines()
        finally:
            os.close(fd)
    for fields in (line.split(":") for line in lines):
        if len(fields) > 3 and name in (fields[0], fields[2]):
            return int(fields[2]), int(fields[3]) if fields[3].isdigit() else 0
    return (int(name), 0) if name.isdigit() else (0, 0)


def _outside(pid: int, table: str, number: int) -> int:
    """Return a user's or group's number on this host. Source: user_namespaces(7)."""
    for line in _lines(pid, table):
        first, there, count = map(int, line.split())
        if first <= number < first + count:
            return there + number - first
    return number


def _lines(pid: int, table: str) -> list[str]:
    """Return what the kernel tells of a process. Raises HiddenError, also when it has ended."""
    try:
        with open(f"/proc/{pid}/{table}", encoding="utf-8", errors="replace") as stream:
            return stream.read().splitlines()
    except OSError as error:
        raise HiddenError(str(error)) from error
