"""A throw-away server on a copy of a restored directory: what it then holds is what users will find.

It starts as a replica of nobody, with its append-only file on: so it keeps keys whose time is over, which makes its
figures comparable, and shows that a server with such a file does not start empty. The copy consists of other names of
the same files where nobody writes to them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic

from orchestrator.engines.redis import programs
from orchestrator.engines.redis.facts import info, number
from orchestrator.engines.redis.folder import AOF_FOLDER, AOF_OLD, link_or_copy
from orchestrator.engines.redis.memory import memory_file
from orchestrator.engines.redis.rdb import Contents
from orchestrator.engines.redis.wire import Refused, Wire, reached
from orchestrator.model.engine import Item
from orchestrator.model.errors import Interrupted, Precondition, ResguardoError
from orchestrator.model.execution import Executor, Proc, RemovePath, Undo

_AGAIN = 0.05  # seconds between two looks whether it is ready
_SOCKET = "s"
_TAIL = 8192  # bytes of its log that are looked at
# What it says when it is the program that does not fit, and not the data.
_UNFIT = ("Can't handle RDB format", "Permission denied", "no matching module", "FATAL CONFIG FILE ERROR")


class NotTried(Exception):
    """No server could be started here; the message says why."""


@dataclass(frozen=True)
class Trial:
    """What the throw-away server said: its counts, as `Contents.counts`, or how it failed."""

    counts: Mapping[str, int]
    server: str
    problem: str = ""


def run(item: Item, folder: str, contents: Contents, at: Executor, undo: Undo) -> Trial:
    """Load a restored directory. Raises NotTried, Interrupted."""
    if item.source.options.trial == "never":
        raise NotTried("trial: never")
    try:
        program = _program(item, folder, contents, at)
        _assert_memory(contents, at, undo)
    except Precondition as error:  # a container that is stopped, as an in-place restore wants it
        raise NotTried(error.message) from error
    with _copied(folder, undo) as scratch, _log(scratch) as log:
        config = memory_file("redis-trial", _settings(scratch, contents))
        try:
            proc = at.start([program, "-"], undo=undo, stdin=config, stdout=log, deadline=item.source.timeout)
        finally:
            os.close(config)
        try:
            return _asked(item, proc, scratch, log, os.path.basename(program))
        finally:
            proc.stop(5.0)


def _program(item: Item, folder: str, contents: Contents, at: Executor) -> str:
    if not at.exists(folder):
        raise NotTried(f"tools in {at.place} do not see {folder!r}")
    family = "valkey" if contents.magic == "VALKEY" or "valkey-ver" in contents.aux else "redis"
    program = programs.look("server", item.source.options, at, family)
    if program is None:
        raise NotTried(f"redis-server is not installed{f' in {at.place}' if at.place else ''}")
    return program


def _settings(scratch: str, contents: Contents) -> bytes:
    databases = max([15, *contents.keys]) + 1
    lines = [
        f"dir {_quoted(scratch)}",
        "port 0",
        f"unixsocket {_SOCKET}",
        "unixsocketperm 777",
        f"databases {databases}",
        'save ""',
        "appendonly yes",
        "appendfsync no",
        "aof-load-truncated no",
        "replicaof 127.0.0.1 1",
        "daemonize no",
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def _quoted(text: str) -> str:
    """Quote as the server's configuration reads it: every byte that is not plain, in hexadecimal."""
    plain = (
        f"\\x{byte:02x}" if not 0x20 < byte < 0x7F or byte in b"\"'\\" else chr(byte) for byte in os.fsencode(text)
    )
    return f'"{"".join(plain)}"'


@contextmanager
def _copied(folder: str, undo: Undo) -> Iterator[str]:
    """Make a directory beside it with the same content, for the block."""
    scratch = os.path.join(os.path.dirname(folder), f".resguardo-{secrets.token_hex(8)}.trial")
    action = undo.register(RemovePath(scratch))
    try:
        try:
            os.mkdir(scratch, 0o700)
            status = os.stat(folder)
            _copy(folder, scratch)
            with suppress(PermissionError):
                os.chown(scratch, status.st_uid, status.st_gid)
        except OSError as error:
            raise NotTried(f"{scratch!r}: {error.strerror}") from error
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        undo.done(action)


def _copy(folder: str, scratch: str) -> None:
    old = os.path.join(folder, AOF_OLD)
    if os.path.exists(old):
        shutil.copy2(old, os.path.join(scratch, AOF_OLD))
        return
    inner = os.path.join(folder, AOF_FOLDER)
    os.mkdir(os.path.join(scratch, AOF_FOLDER), 0o700)
    for name in os.listdir(inner):
        # A server only ever removes the first file, and goes on writing the others.
        put = link_or_copy if name.endswith(".base.rdb") else shutil.copy2
        put(os.path.join(inner, name), os.path.join(scratch, AOF_FOLDER, name))


@contextmanager
def _log(scratch: str) -> Iterator[int]:
    fd = os.open(os.path.join(scratch, "log"), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _asked(item: Item, proc: Proc, scratch: str, log: int, program: str) -> Trial:
    until = monotonic() + item.source.timeout
    while monotonic() < until:
        if proc.poll() is not None:
            return _ended(log, program)
        with suppress(OSError, ResguardoError), _wire(item, scratch) as wire:
            told = info(wire, "server", "persistence", "keyspace")
            if not number(told, "loading") and not number(told, "async_loading"):
                return Trial(_counts(wire, told), program)
        item.source.wait((), _AGAIN)
    return Trial({}, program, f"{program} did not load it within {item.source.timeout:g} s")


@contextmanager
def _wire(item: Item, scratch: str) -> Iterator[Wire]:
    # A socket's path has 107 bytes at most: through the open folder it is short.
    folder = os.open(scratch, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        made = reached(socket.AF_UNIX, f"/proc/self/fd/{folder}/{_SOCKET}", item.source.wait)
        with Wire(made, "the throw-away server", item.source.wait) as wire:
            yield wire
    finally:
        os.close(folder)


def _counts(wire: Wire, told: dict[str, str]) -> dict[str, int]:
    """Return what it holds, in the words of `Contents.counts`."""
    found: dict[str, int] = {}
    for name, text in told.items():
        if name.startswith("db") and name[2:].isdigit():
            fields = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
            found[name] = int(fields.get("keys", 0))
            if expiring := int(fields.get("expires", 0)):
                found[f"{name} expiring"] = expiring
    total = sum(count for name, count in found.items() if " " not in name)
    return {"keys": total, "functions": _functions(wire)} | found


def _functions(wire: Wire) -> int:
    try:
        listed = wire.call("FUNCTION", "LIST")
    except Refused:
        return 0  # before version 7 there are none
    return len(listed) if isinstance(listed, list) else 0


def _ended(log: int, program: str) -> Trial:
    size = os.fstat(log).st_size
    said = os.pread(log, _TAIL, max(0, size - _TAIL)).decode("utf-8", "replace")
    lines = [line.partition(" # ")[2] for line in said.splitlines() if " # " in line] or said.splitlines()
    reason = " ".join((lines or ["it said nothing"])[-1].split())[:300]
    if any(word in said for word in _UNFIT):
        raise NotTried(f"this {program} cannot: {reason}")
    return Trial({}, program, f"{program} could not load it: {reason}")


def _assert_memory(contents: Contents, at: Executor, undo: Undo) -> None:
    """Refuse to start what would not fit beside everything else. Raises NotTried."""
    needed = int(contents.aux.get("used-mem", "0") or 0)
    free = _free_memory(at, undo)
    if free is None or needed > free * 0.8:
        what = "it is not known how much memory is free" if free is None else f"{needed} bytes of memory are needed"
        raise NotTried(what)


_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def _free_memory(at: Executor, undo: Undo) -> int | None:
    """Return the memory that is free where tools run: the machine's, or what a container's limit leaves."""
    fields = _text(at, undo, "/proc/meminfo").split()
    if "MemAvailable:" not in fields:
        return None
    free = int(fields[fields.index("MemAvailable:") + 1]) * 1024
    for limit, usage in _LIMITS:
        most, used = _text(at, undo, limit).strip(), _text(at, undo, usage).strip()
        if most.isdigit() and used.isdigit():
            free = min(free, int(most) - int(used))
    return free


def _text(at: Executor, undo: Undo, path: str) -> str:
    try:
        if not at.exists(path):
            return ""
        return at.run(["cat", path], undo=undo).stdout.decode("utf-8", "replace")
    except Interrupted:
        raise
    except ResguardoError:
        return ""
