"""The sentinel: one tiny process per run that undoes what the run leaves behind when it dies.

It is executed by path with a bare interpreter (`python -I -S sentinel.py`), so this file imports nothing but the
standard library. The rest of the package imports the same functions from here: what the sentinel does at once and
what a later run does (`reconcile`) is the same code.

Descriptor 3 is one end of a SOCK_SEQPACKET pair, descriptor 4 the journal, locked and with its owner line. Requests
are JSON: `{"do": "register", "action": {…}}` is answered by `{"id": …}` once the action is on disk, or by
`{"error": …}`; `{"do": "done", "id": …}` is not answered; `{"do": "goodbye"}` ends it. A socket that closes without a
goodbye means that the owner is dead.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

SOCKET = 3
JOURNAL = 4
LONGEST = 1 << 16  # bytes of one request; a path has at most 4096
GRACE = 1.0  # seconds between asking and killing
FROZEN = 0.3  # seconds after which a killed process is asked whether it is frozen
KILLED = 5.0  # seconds that a killed process may take to go
EXEC = "RESGUARDO_EXEC"  # names one program inside a container in its environment
OURS = ".resguardo-"  # how the names begin of what is removed inside containers
MARKER = "RESGUARDO_OWNER"  # names the owner in the environment of every child and its descendants

Record = Mapping[str, Any]


def boot_id() -> str:
    """Return the kernel's ID of this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return stream.read().strip()


def pid_namespace() -> int:
    """Return the inode number of our PID namespace."""
    return os.stat("/proc/self/ns/pid").st_ino


def start_of(pid: int) -> int | None:
    """Return a process's start time (clock ticks since boot), None when there is none. Source: proc(5), field 22."""
    fields = _stat_of(pid)
    return int(fields[19]) if fields else None


def living() -> dict[int, int]:
    """Return PID → start time of every process that we can see; one that only waits to be reaped lives no more."""
    stats = {int(name): _stat_of(int(name)) for name in filter(str.isdigit, os.listdir("/proc"))}
    return {pid: int(fields[19]) for pid, fields in stats.items() if fields and fields[0] not in (b"Z", b"X")}


def _stat_of(pid: int) -> list[bytes] | None:
    """Return the fields after the command's name, which may hold any byte; the first is the state."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            raw = stream.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return raw[raw.rindex(b")") + 2 :].split()


def marker(owner: Record) -> str:
    """Return the value of MARKER for the children of this owner."""
    return f"{owner['pid']}.{owner['start']}"


def open_process(pid: int, start: int) -> int | None:
    """Return a pidfd of exactly this process, None when it is gone (or its PID is another's by now)."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    if start_of(pid) == start:
        return fd
    os.close(fd)
    return None


def _session(leader: int, mark: str) -> list[int]:
    """Return pidfds of the living processes of a session that descend from our owner.

    The leader may be gone and its number another's, hence the marker: a session's number alone proves nothing.
    """
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        fields = _stat_of(int(name))
        if fields is None or int(fields[3]) != leader or fields[0] == b"Z" or not is_marked(int(name), mark):
            continue
        fd = open_process(int(name), int(fields[19]))
        if fd is not None:
            found.append(fd)
    return found


def is_marked(pid: int, mark: str, name: str = MARKER) -> bool:
    """Whether a process was started with the variable `name` of this value; False too when we may not look."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            return f"{name}={mark}".encode() in stream.read().split(b"\0")
    except OSError:
        return False


def _signal(fds: Iterable[int], number: int) -> None:
    for fd in fds:
        try:
            signal.pidfd_send_signal(fd, number)
        except (ProcessLookupError, PermissionError):  # gone; or still there, as the wait that follows will tell
            continue


def _wait(fds: Sequence[int], seconds: float) -> list[int]:
    """Wait until all have ended; return those that have not after `seconds`."""
    until = time.monotonic() + seconds
    alive = list(fds)
    while alive:
        poller = select.poll()
        for fd in alive:
            poller.register(fd, select.POLLIN)
        ended = {fd for fd, _ in poller.poll(max(0.0, until - time.monotonic()) * 1000)}
        if not ended:
            break
        alive = [fd for fd in alive if fd not in ended]
    return alive


def _is_doomed(pidfd: int) -> bool:
    """Whether a killed process is one of a paused container: it runs no more, and ends when that goes on."""
    try:
        with open(f"/proc/self/fdinfo/{pidfd}", "rb") as info:
            pid = int(info.read().split(b"\nPid:")[1].split()[0])
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
            said = dict(line.split(":", 1) for line in status if ":" in line)
        pending = int(said["SigPnd"], 16) | int(said["ShdPnd"], 16)
        return bool(pending >> signal.SIGKILL - 1 & 1) and os.stat(f"/proc/{pid}/ns/pid").st_ino != pid_namespace()
    except (OSError, LookupError, ValueError):
        return False


def end(actions: Sequence[Record], first: int, mark: str, grace: float = GRACE) -> list[str]:
    """Ask with the signal `first`, then kill what remains of the sessions; return what could not be ended."""
    leaders = [fd for a in actions if (fd := open_process(a["pid"], a["start"])) is not None]
    _signal(leaders, first)
    alive = _wait(leaders, grace)
    rest = [fd for a in actions for fd in _session(a["pid"], mark)]
    _signal([*alive, *rest], signal.SIGKILL)
    left = _wait([fd for fd in _wait([*alive, *rest], FROZEN) if not _is_doomed(fd)], KILLED)
    for fd in {*leaders, *rest}:
        os.close(fd)
    return [f"{len(left)} processes of the run cannot be ended"] if left else []


def end_execs(actions: Sequence[Record]) -> None:
    """Kill what was started inside containers; what the container engine is about to start is waited for."""
    until = time.monotonic() + GRACE
    while actions and time.monotonic() < until:
        for pid, start in living().items():
            if any(is_marked(pid, a["token"], EXEC) for a in actions) and (fd := open_process(pid, start)) is not None:
                _signal([fd], signal.SIGKILL)
                os.close(fd)
        time.sleep(0.05)


def remove_inside(action: Record) -> str:
    """Remove a file or tree in a container's files, following no link on the way; return the problem."""
    folder, name = os.path.split(action["path"])
    problem = f"{action['path']} in {action['place']} cannot be removed"
    if not name.startswith(OURS) or ".." in folder.split("/"):
        return f"{problem}: it is not ours"
    opened = []
    try:
        opened.append(os.open(f"/proc/{action['pid']}/root", os.O_PATH))
        for part in filter(None, folder.split("/")):
            opened.append(os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=opened[-1]))
        if start_of(action["pid"]) != action["start"]:
            raise FileNotFoundError  # it may be another process's root
        try:
            os.unlink(name, dir_fd=opened[-1])
        except IsADirectoryError:
            import shutil  # noqa: PLC0415 - seldom needed, and slow to import

            shutil.rmtree(name, dir_fd=opened[-1])
    except OSError as error:
        gone = start_of(action["pid"]) != action["start"]
        if not (action["volatile"] if gone else isinstance(error, FileNotFoundError)):
            return f"{problem}: {'it does not run any more' if gone else error.strerror}"
    finally:
        for fd in opened:
            os.close(fd)
    return ""


def remove_path(path: str) -> None:
    """Remove a file, or a directory with all that it holds, never following a link.

    Raises OSError; EXDEV, with everything still there, when another file system is mounted in it.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(path)
        return
    _assert_one_file_system(path, status.st_dev)
    for folder, folders, files in os.walk(path, topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            inner = os.path.join(folder, name)
            (os.unlink if os.path.islink(inner) else os.rmdir)(inner)
    os.rmdir(path)


def mounts_below(path: str) -> list[str]:
    """Return where something is mounted at or below a path, links resolved. Source: proc(5), mountinfo, field 5."""
    real = os.fsencode(os.path.realpath(path))
    with open("/proc/self/mountinfo", "rb") as stream:
        points = [_unescaped(line.split(b" ")[4]) for line in stream]
    return [os.fsdecode(point) for point in points if point == real or point.startswith(real.rstrip(b"/") + b"/")]


def _unescaped(field: bytes) -> bytes:
    """Undo the octal escapes of space, tab, newline and backslash."""
    first, *rest = field.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def _assert_one_file_system(path: str, device: int) -> None:
    """Bind mounts of the same file system are seen in the list of mounts alone; another list's by their device."""
    foreign = mounts_below(path)
    for folder, folders, _ in os.walk(path):
        foreign += [each for name in folders if os.lstat(each := os.path.join(folder, name)).st_dev != device]
    if foreign:
        raise OSError(errno.EXDEV, f"another file system is mounted at {foreign[0]}", path)


def is_removable(path: str, prefixes: Iterable[str]) -> bool:
    """Say whether a path lies, links resolved, under one of the prefixes; nothing else is ever removed."""
    folder, name = os.path.split(path)
    real = os.path.join(os.path.realpath(folder), name)
    sound = os.path.isabs(path) and name not in ("", ".", "..")
    return sound and any(real.startswith(prefix) and real != prefix for prefix in prefixes)


def _remove(actions: Sequence[Record], prefixes: Sequence[str]) -> list[str]:
    problems: list[str] = []
    for action in reversed(actions):
        path = action["path"]
        if action["kind"] == "remove_inside":
            problems += filter(None, [remove_inside(action)])
            continue
        if not is_removable(path, prefixes):
            problems.append(f"{path} is not ours to remove")
            continue
        try:
            remove_path(path)
        except OSError as error:
            problems.append(f"{path} cannot be removed: {error.strerror}")
    return problems


def _put_back(actions: Sequence[Record]) -> list[str]:
    """Give each original its name again where a kill came between the two renames of a swap."""
    problems = []
    for action in reversed(actions):
        path, kept = action["path"], action["kept"]
        if not kept.startswith(f"{path}_") or "/" in kept[len(path) :]:
            problems.append(f"{kept} is not ours to rename")
        elif not os.path.lexists(path) and os.path.lexists(kept):
            try:
                os.rename(kept, path)
            except OSError as error:
                problems.append(f"{kept} cannot be renamed to {path} again: {error.strerror}")
    return problems


def undo(actions: Sequence[Record], owner: Record, prefixes: Sequence[str]) -> list[str]:
    """Undo in the fixed order (restic, dumps, originals put back, then files) and return what could not be undone.

    Files under a live restic or dump are never removed: it would store torn data; nor is a restored copy while its
    original has not its name again. Processes of another boot are gone; those of another PID namespace cannot be seen
    from here.
    """
    boot, namespace = boot_id(), pid_namespace()
    here = [a for a in actions if a["kind"] == "process" and a["boot"] == boot]
    foreign = [a for a in here if a["pid_namespace"] != namespace]
    problems = [f"process {a['pid']} runs in another PID namespace" for a in foreign]
    mine = [a for a in here if a["pid_namespace"] == namespace]
    problems += end([a for a in mine if a["role"] == "restic"], signal.SIGINT, marker(owner))
    problems += end([a for a in mine if a["role"] != "restic"], signal.SIGTERM, marker(owner))
    end_execs([a for a in actions if a["kind"] == "exec"])
    paths = [a for a in actions if a["kind"] in {"remove", "remove_inside"}]
    missing = _put_back([a for a in actions if a["kind"] == "put_back"])
    if problems:
        return problems + missing + [f"{a['path']} was kept: a process may still read it" for a in paths]
    return missing + [f"{a['path']} was kept" for a in paths] if missing else _remove(paths, prefixes)


def append(journal: int, record: Record, *, durable: bool = True) -> None:
    """Append one line to a journal; a line that could not be written whole is taken back. Raises OSError."""
    line = json.dumps(record).encode() + b"\n"
    before = os.fstat(journal).st_size
    try:
        while line:
            line = line[os.write(journal, line) :]
        if durable:
            os.fsync(journal)
    except OSError:
        os.ftruncate(journal, before)
        raise


class Sentinel:
    """The loop over its owner's requests."""

    def __init__(self, link: socket.socket, journal: int) -> None:
        self._link = link
        self._journal = journal
        self._pending: dict[str, Record] = {}
        self._count = 0

    def run(self) -> bool:
        """Serve until the goodbye (True) or until the owner is gone (False)."""
        answers: dict[str, Callable[[Record], Record | None]] = {"register": self._register, "done": self._done}
        while request := self._receive():
            if request["do"] == "goodbye":
                return True
            answer = answers[request["do"]](request)
            if answer is not None:
                self._answer(answer)
        return False

    def _receive(self) -> Record | None:
        try:
            message = self._link.recv(LONGEST)
        except ConnectionError:
            return None
        request: Record | None = json.loads(message) if message else None
        return request

    def _answer(self, answer: Record) -> None:
        try:
            self._link.send(json.dumps(answer).encode())
        except ConnectionError:  # the owner died meanwhile: the next receive says so
            return

    def _register(self, request: Record) -> Record:
        action = request["action"]
        if action["kind"] == "process" and start_of(action["pid"]) not in (None, action["start"]):
            return {"error": f"process {action['pid']} is not the one that was started"}
        number = str(self._count + 1)
        try:
            append(self._journal, {"id": number, "action": action}, durable=request["durable"])
        except OSError as error:
            return {"error": f"the journal cannot be written: {error.strerror}"}
        self._count += 1
        self._pending[number] = action
        return {"id": number}

    def _done(self, request: Record) -> None:
        self._pending.pop(request["id"], None)
        try:
            append(self._journal, {"done": request["id"]}, durable=False)
        except OSError:  # undoing a thing that is gone does nothing
            return

    def undo(self, head: Record) -> None:
        """Undo what is pending and say so in the journal."""
        problems = undo(list(self._pending.values()), head["owner"], head["removable"])
        append(self._journal, {"undone": not problems, "problems": problems})


def main() -> int:
    """Run as a program; descriptors 3 and 4 are described above."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    head = json.loads(os.pread(JOURNAL, LONGEST, 0).splitlines()[0])
    with socket.socket(fileno=SOCKET) as link:
        sentinel = Sentinel(link, JOURNAL)
        if not sentinel.run():
            sentinel.undo(head)
    return 0


if __name__ == "__main__":
    sys.exit(main())
