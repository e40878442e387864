"""Restore a snapshot as a new data directory; and put such a directory in the place of a stopped server's."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress

from orchestrator.engines._common import put_in_place, sync_folder
from orchestrator.engines.redis.bringing import Blocks, assert_free
from orchestrator.engines.redis.connection import connect, target_of
from orchestrator.engines.redis.folder import AOF_FOLDER, AOF_OLD, SNAPSHOT, complete, give
from orchestrator.engines.redis.options import Options
from orchestrator.engines.redis.rdb import Contents, Damaged, read
from orchestrator.engines.redis.wire import Refused
from orchestrator.model.engine import Data, Item, Kept, Original, Restored
from orchestrator.model.errors import Interrupted, NotRunning, Precondition, ResguardoError, RestoreFailed
from orchestrator.model.execution import Executor, Finding, RemovePath, Undo
from orchestrator.model.waiting import Wait

_STOP = "stop the server first"


def restore(item: Item, data: Data, to: str, undo: Undo) -> Restored:
    """Make the new directory `to`; it gets its name when it is whole. Raises RestoreFailed, DataDamaged."""
    target = os.path.abspath(to)
    assert_free(target)
    part = os.path.join(os.path.dirname(target), f".resguardo-{secrets.token_hex(8)}.part")
    action = undo.register(RemovePath(part))
    try:
        os.mkdir(part, 0o700)
        contents = _written(data, os.path.join(part, SNAPSHOT), target, item.source.wait)
        complete(part, contents)
        notes = tuple(_owned(part, target, item.source.options))
        assert_free(target)
        os.rename(part, target)
        sync_folder(os.path.dirname(target))
    except OSError as error:
        raise RestoreFailed(f"{target!r}: {error.strerror}", "mend it, or restore to another folder") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        undo.done(action)
    return Restored(target, beside=notes)


def _written(data: Data, path: str, target: str, wait: Wait) -> Contents:
    """Write the bytes, checking them on the way. Raises OSError, DataDamaged, RestoreFailed, Interrupted."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb", buffering=0) as file, Blocks(data, wait) as blocks:

        def pull() -> bytes:
            block = blocks.pull()
            view = memoryview(block)
            while view:
                view = view[file.write(view) or 0 :]
            return block

        try:
            contents = read(pull)
        except Damaged as error:
            blocks.drain()
            raise RestoreFailed(f"{target!r}: {error.message}", "restore another point") from error
        os.fsync(fd)
        return contents


def _owned(part: str, target: str, options: Options) -> Iterator[Finding]:
    """Give it the owner of the server's own directory, as far as that is known and allowed."""
    yield _both_ways(target)
    try:
        if options.directory:
            status = os.stat(options.directory)
            give(part, status.st_uid, status.st_gid)
            return
    except OSError:
        pass
    yield _ours(target)


def _both_ways(target: str) -> Finding:
    text = f"{target!r}: a server with `appendonly yes` starts from {AOF_FOLDER}, any other from {SNAPSHOT}"
    return Finding("info", text, f"when yours keeps no append-only file, remove {AOF_FOLDER} before you start it")


def _ours(target: str) -> Finding:
    text = f"{target!r} belongs to us, with mode 0700"
    return Finding("info", text, "before a server is started on it: chown -R redis:redis, or the user that it runs as")


def original(item: Item, at: Executor) -> Original:
    """Whether the directory is there, and whether its server is stopped: only then it can be replaced."""
    place = _place(item)
    found = [Finding("error", text, hint) for text, hint in _in_use(item, at)]
    return Original(os.path.lexists(place), tuple(found))


def _place(item: Item) -> str:
    return os.path.realpath(item.source.options.directory or "/")


def _in_use(item: Item, at: Executor) -> Iterator[tuple[str, str]]:
    """Yield why its server does not count as stopped, and what to do: only where nobody listens it is."""
    try:
        target = target_of(item.source, at, "restore")
        with connect(target):
            yield f"{target.where} is running", _STOP
            return
    except Interrupted:
        raise
    except NotRunning:
        pass
    except ResguardoError as error:
        if isinstance(error.__cause__, Refused):  # it answers, if only to refuse us
            yield f"its server is running: {error.message}", _STOP
        else:
            hint = f"{error.hint}; then {_STOP}" if error.hint else _STOP
            yield f"it cannot be told whether its server is stopped: {error.message}", hint
        return
    place = _place(item)
    if users := _working_in(place):
        yield f"{place!r} is the working directory of {', '.join(users)}", _STOP


def _working_in(place: str) -> list[str]:
    """Return the processes whose working directory this is, as `name (PID)`: a server's is its data directory."""
    try:
        wanted = os.stat(place)
    except OSError:
        return []
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            here = os.stat(f"/proc/{pid}/cwd")
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                name = file.read().strip()
        except OSError:
            continue
        if os.path.samestat(here, wanted) and name.startswith(("redis", "valkey")):
            found.append(f"{name} ({pid})")
    return found


def swap(item: Item, to: str, kept: str, at: Executor, undo: Undo) -> Kept:
    """Put `to` in the place of the server's directory, which stays as `kept`; refused while the server runs.

    Raises RestoreFailed, Precondition; then nothing has changed.
    """
    if not item.source.options.directory:
        raise Precondition(f"{item.source.id}: its directory is not known", "set `directory`, or restore with --to")
    old, new, keep = _place(item), os.path.abspath(to), os.path.join(os.path.dirname(_place(item)), kept)
    _assert_movable(old, new, keep)
    for reason, hint in _in_use(item, at):
        raise Precondition(f"{old!r} cannot be replaced: {reason}", hint)
    there = os.path.lexists(old)
    try:
        if there:
            status = os.stat(old)
            give(new, status.st_uid, status.st_gid)
            os.chmod(new, stat.S_IMODE(status.st_mode))
            _without_stale_file(old, new)
        with ExitStack() as back:
            put_in_place(new, old, keep, back, undo)
            sync_folder(os.path.dirname(old))
            back.pop_all()
    except OSError as error:
        raise RestoreFailed(f"{old!r}: {error.strerror}; nothing was changed", "mend it, then try again") from error
    return Kept(keep if there else None, tuple(_left_behind(keep)) if there else (_both_ways(old), _ours(old)))


def _without_stale_file(old: str, new: str) -> None:
    """Leave out the append-only file where the server kept none: one day it would be loaded, old as it is by then."""
    if any(os.path.lexists(os.path.join(old, name)) for name in (AOF_FOLDER, AOF_OLD)):
        return
    if os.path.lexists(os.path.join(old, SNAPSHOT)):
        shutil.rmtree(os.path.join(new, AOF_FOLDER), ignore_errors=True)
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(new, AOF_OLD))


def _assert_movable(old: str, new: str, keep: str) -> None:
    if not os.path.isdir(new):
        raise RestoreFailed(f"{new!r}: no such restored directory", "restore it first")
    if os.path.lexists(keep):
        raise RestoreFailed(f"{keep!r}: exists already", "move it away first")
    if os.path.ismount(old):
        text = f"{old!r}: is a mount point, which cannot be renamed"
        raise Precondition(text, "restore with --to, and copy with the server stopped")
    if not os.path.isdir(os.path.dirname(old)):
        raise Precondition(f"{os.path.dirname(old)!r}: no such directory", "create it first")
    if os.stat(os.path.dirname(old)).st_dev != os.stat(new).st_dev:
        raise Precondition(f"{new!r}: lies on another filesystem than {old!r}", "restore it beside the original")


def _left_behind(keep: str) -> Iterator[Finding]:
    others = sorted({*os.listdir(keep)} - {SNAPSHOT, AOF_FOLDER, AOF_OLD})
    if others:
        text = f"{keep!r} also holds {', '.join(map(repr, others[:5]))}, which is not in a snapshot"
        yield Finding("warning", text, "copy over what the server needs, such as nodes.conf or users.acl")
