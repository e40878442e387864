"""SQLite: a live database file, stored as one binary image.

The image is made by SQLite's backup API in a process of its own (`_sqlite_helper.py` says why), checked there, counted
there, and only then printed. It is a whole database file: `restic dump SNAPSHOT PATH > shop.db` is a restore.
"""

from __future__ import annotations

import ast
import fcntl
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from shutil import rmtree
from typing import Annotated, Any, Literal

from pydantic import Field

from orchestrator.engines._common import compare, sync_folder, users_of
from orchestrator.engines._owner import give, like_folder, owner_of
from orchestrator.model.engine import Data, Dump, DumpEnd, Facts, Item, Kept, Original, PathSet, Restored, Source
from orchestrator.model.errors import (
    Bug,
    Precondition,
    ResguardoError,
    RestoreFailed,
    RightsMissing,
)
from orchestrator.model.execution import Executor, Exit, Finding, Proc, Trailer, Undo
from orchestrator.model.owner import Owner
from orchestrator.policy.base import PolicyModel
from orchestrator.policy.paths import LocalPath
from orchestrator.policy.units import Duration

HELPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_sqlite_helper.py")
MAGIC = b"SQLite format 3\0"
SMALLEST = 512  # bytes of the smallest page (https://sqlite.org/fileformat2.html#pages)
COMPANIONS = ("-wal", "-shm", "-journal")
PIPE_BYTES = 1 << 20


class Options(PolicyModel):
    """path: of the database file · busy: seconds to wait for a writer's lock · check: how the image is checked.

    `full` wants integrity_check and foreign_key_check clean. `quick` wants quick_check clean (for databases whose
    indexes need functions or collations of their application) and reports broken references without failing.
    """

    path: LocalPath = Field(description="The database's file.", examples=["/srv/hub/hub.db"])
    busy: Annotated[Duration, Field(gt=0, le=3600)] = Field(
        default=30.0, description="How long to wait for a writer's lock, an hour at most."
    )
    check: Literal["full", "quick"] = Field(
        default="full",
        description="`full`: the copy passes integrity_check and foreign_key_check. `quick`: it passes quick_check, "
        "and broken references are only told; for indexes that need functions or collations of their application.",
    )


def _helper(*arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", HELPER, *arguments]


def _report(text: bytes, end: Exit, seconds: float) -> Mapping[str, Any]:
    """Return the helper's report; a helper that was stopped or died is reported as such."""
    if end.timed_out:
        return {"error": f"took longer than {seconds:g} s", "hint": "raise `timeout`", "kind": "late"}
    with suppress(ValueError, SyntaxError):
        report: Mapping[str, Any] = ast.literal_eval(text.decode("ascii"))
        if end.ok or "error" in report:
            return report
    last = end.stderr_tail.strip().rpartition("\n")[2]
    return {"error": f"its reader ended with exit code {end.code} {last}".rstrip(), "hint": "run it again with -v"}


def _look(path: str) -> os.stat_result:
    """Refuse what is no database file, by a look from outside: opening it here could drop our own locks on it."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise Precondition(f"{path!r}: no such file", "correct `path`, or mount what holds it") from None
    except NotADirectoryError:
        raise Precondition(f"{path!r}: a part of the path is not a directory", "correct `path`") from None
    except PermissionError:
        raise RightsMissing(f"{path!r}: its directory may not be searched", "run as root or as its owner") from None
    if not stat.S_ISREG(found.st_mode):
        raise Precondition(f"{path!r}: is not a regular file", "give the path of the database file itself")
    if found.st_size == 0:
        raise Precondition(f"{path!r}: is empty (0 bytes)", "even a new database has a page: find what truncated it")
    if found.st_size < SMALLEST:
        raise Precondition(
            f"{path!r}: is not an SQLite database ({found.st_size} bytes)", "give the path of a database"
        )
    if not os.access(path, os.R_OK, effective_ids=True):
        raise RightsMissing(f"{path!r}: cannot be read", "run as its owner or as root")
    return found


class _ImageDump:
    """A dump under way: the helper copies, checks, counts, then prints."""

    trailer = Trailer(magic=MAGIC, min_bytes=SMALLEST)

    def __init__(self, fd: int, proc: Proc, report: str, source: Source, owner: Owner) -> None:
        self.fd = fd
        self._proc = proc
        self._report = report
        self._source = source
        self._owner = owner
        self._end: DumpEnd | None = None

    def finish(self) -> DumpEnd:
        """Return the helper's own word on what it printed."""
        if self._end is None:
            end, text = self._proc.wait(), b""
            with suppress(FileNotFoundError), open(self._report, "rb") as file:
                text = file.read()
            self._end = self._judge(_report(text, end, self._source.timeout))
        return self._end

    def _judge(self, report: Mapping[str, Any]) -> DumpEnd:
        path = self._source.options.path
        if "error" in report:
            message = f"{path!r}: {report['error']}"
            return DumpEnd(error=message, findings=(Finding("error", message, report.get("hint")),))
        notes = [Finding("warning", f"{path!r}: {note}") for note in report["notes"]]
        if not report["counts"]:
            notes.append(Finding("warning", f"{path!r}: has no tables", "check that `path` is the right database"))
        return DumpEnd(
            counts=report["counts"],
            counts_exact=True,
            as_of=datetime.fromtimestamp(report["as_of"], UTC),
            findings=tuple(notes),
            bytes=report["bytes"],
            sha256=report["sha256"],
            owner=self._owner,
        )


class SqliteEngine:
    """Dumps SQLite files. An item is named as the file; `to` and `kept` are paths, relative ones beside the source."""

    name = "sqlite"
    Options: type[Any] = Options
    delivers: Literal["stream", "paths"] = "stream"
    places: Literal["path", "server"] = "path"

    def originals(self, source: Source) -> Mapping[str, str]:
        """The one file."""
        return {os.path.basename(source.options.path): os.path.realpath(source.options.path)}

    def original(self, item: Item, at: Executor) -> Original:  # noqa: ARG002 - the port has it
        """Whether the file is there, and who has it open: as long as they do, it is not swapped."""
        path = os.path.realpath(item.source.options.path)
        users = users_of({(status.st_dev, status.st_ino) for status in _family(path)})
        text = f"{path!r}: is in use by {', '.join(users)}, and cannot be swapped meanwhile"
        found = (Finding("warning", text, "stop what uses it"),) if users else ()
        return Original(os.path.lexists(path), found)

    def probe(self, source: Source, at: Executor, undo: Undo) -> Facts:  # noqa: ARG002 - the port has them
        """Look at the file from outside: no process, and no open file. What is in it is for the dump to judge."""
        from sqlite3 import sqlite_version  # noqa: PLC0415 - start-up

        path = source.options.path
        size = _look(path).st_size
        return Facts((Item(source, os.path.basename(path), "db", size),), server=f"SQLite {sqlite_version}")

    @contextmanager
    def dump(self, item: Item, at: Executor, undo: Undo) -> Iterator[Dump]:
        """Start the helper; nothing is printed before the image has passed its checks."""
        source, options = item.source, item.source.options
        found = _look(options.path)
        size = found.st_size
        with ExitStack() as stack:
            folder = at.private_dir(undo, size_hint=max(size, item.bytes or 0))
            stack.callback(rmtree, folder, ignore_errors=True)
            read, write = os.pipe()
            stack.callback(os.close, read)
            argv = _helper("dump", options.path, folder, str(options.busy), options.check)
            try:
                with suppress(OSError):
                    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
                proc = at.start(argv, undo=undo, stdout=write, deadline=source.timeout)
            finally:
                os.close(write)
            stack.callback(proc.stop)
            yield _ImageDump(read, proc, os.path.join(folder, "report"), source, owner_of(found))

    def paths(self, item: Item) -> PathSet:
        """Not for this engine: it delivers a stream."""
        raise Bug(f"engine {self.name} delivers a stream, not paths: {item.source.id}")

    def restore(self, item: Item, data: Data, to: str, at: Executor, undo: Undo) -> Restored:
        """Let the helper write a nameless private file that gets its name when it is whole."""
        target = _place(item, to)
        _assert_free(target, RestoreFailed)
        part = os.path.join(os.path.dirname(target), f".resguardo-{secrets.token_hex(8)}.part")
        proc = at.start(_helper("receive", target, part), undo=undo, stdin=data.fd, deadline=item.source.timeout)
        try:
            data.finish(proc)
            end = proc.wait()
        finally:
            proc.stop()
            with suppress(FileNotFoundError):
                os.unlink(part)
        if not end.ok:
            raise RestoreFailed(*_told(target, end))
        return Restored(target, give(target, item.owner) if item.owner else ())

    def verify(self, item: Item, to: str, expected: Mapping[str, int], at: Executor, undo: Undo) -> Sequence[Finding]:
        """integrity_check, foreign_key_check, and the rows of every table."""
        target, source = _place(item, to), item.source
        ran = at.run(_helper("check", target, source.options.check), undo=undo, deadline=source.timeout)
        report = _report(ran.stdout, ran.exit, source.timeout)
        if "error" in report:
            return (Finding("error", f"{target!r}: {report['error']}", report.get("hint")),)
        return (
            *(Finding("error", f"{target!r}: {problem}") for problem in report["problems"]),
            *(Finding("warning", f"{target!r}: {note}") for note in report["notes"]),
            *compare(report["counts"], expected, target),
        )

    def swap(self, item: Item, to: str, kept: str, at: Executor, undo: Undo) -> Kept:
        """Put `to` in the place of the source's file; refused while any process has that open.

        The old file is first folded into one with its -wal and then linked as `kept`, so that at every moment a whole
        database has the source's name. The new one gets the old one's owner and mode; without an old one those that
        it had when it was dumped, else the directory's owner.
        """
        old, new, keep = os.path.realpath(item.source.options.path), _place(item, to), _place(item, kept)
        _assert_free(keep, RestoreFailed)
        _assert_swappable(old, new)
        self._settle(new, item, at, undo)
        there = os.path.lexists(old)
        if there:
            self._settle(old, item, at, undo)
        try:
            notes = _dress(new, old, item)
            files = _identities(old)
            _exchange(old, new, keep)
        except OSError as error:
            raise RestoreFailed(f"{old!r}: {error.strerror}; nothing was changed", "mend it, then try again") from error
        return Kept(keep if there else None, (*notes, *_late(old, keep, files)))

    def _settle(self, path: str, item: Item, at: Executor, undo: Undo) -> None:
        if not any(os.path.lexists(path + companion) for companion in COMPANIONS):
            return
        argv = _helper("settle", path, str(item.source.options.busy))
        ran = at.run(argv, undo=undo, deadline=item.source.timeout)
        report = _report(ran.stdout, ran.exit, item.source.timeout)
        # A damaged one cannot be folded: then its companions keep it company under the new name.
        if report.get("kind") == "locked" or report.get("companions"):
            raise Precondition(f"{path!r}: is in use by another process", "stop what uses it, then try again")


def _place(item: Item, name: str) -> str:
    """Return the path that a name means: relative ones lie beside the source's file."""
    return os.path.normpath(os.path.join(os.path.dirname(os.path.realpath(item.source.options.path)), name))


def _assert_free(path: str, error: type[ResguardoError]) -> None:
    for companion in ("", *COMPANIONS):
        if os.path.lexists(path + companion):
            raise error(f"{path + companion!r}: exists already", "choose another name, or move it away")
    if not os.path.isdir(os.path.dirname(path)):
        raise error(f"{os.path.dirname(path)!r}: no such directory", "create it first")


def _told(target: str, end: Exit) -> tuple[str, str]:
    if end.timed_out:
        return f"{target!r}: writing it took too long", "raise `timeout`"
    said = end.stderr_tail.strip() or f"its writer ended with exit code {end.code}"
    return f"{target!r}: {said}", "restore another point"


def _assert_swappable(old: str, new: str) -> None:
    """Refuse, before anything is touched, what could not be done whole."""
    if not os.path.isfile(new) or os.path.islink(new):
        raise RestoreFailed(f"{new!r}: no such restored file", "restore it first")
    if os.stat(new).st_dev != os.stat(os.path.dirname(old)).st_dev:
        raise Precondition(f"{new!r}: lies on another filesystem than {old!r}", "restore it beside the original")
    users = users_of(_identities(old))
    if users:
        raise Precondition(f"{old!r}: is in use by {', '.join(users)}", "stop what uses it, then try again")


def _identities(path: str) -> set[tuple[int, int]]:
    return {(status.st_dev, status.st_ino) for status in _family(path)}


def _late(old: str, keep: str, files: set[tuple[int, int]]) -> Iterator[Finding]:
    """Tell who opened the old file while it was replaced: what they write from now on is in the kept copy alone."""
    users = users_of(files)
    if users:
        text = f"{old!r}: {', '.join(users)} opened it while it was replaced, and goes on with {keep!r}"
        yield Finding("error", text, f"restart what uses it, then see what was written into {keep!r}")


def _family(path: str) -> Iterator[os.stat_result]:
    for companion in ("", *COMPANIONS):
        with suppress(OSError):
            yield os.stat(path + companion)


def _dress(new: str, old: str, item: Item) -> tuple[Finding, ...]:
    """Give the new file the old one's owner, mode and extended attributes (access lists), as far as there is one."""
    try:
        status = os.stat(old)
    except FileNotFoundError:
        return () if item.owner else (like_folder(new, os.path.dirname(old)),)
    os.chown(new, status.st_uid, status.st_gid)
    os.chmod(new, stat.S_IMODE(status.st_mode))
    with suppress(OSError):
        for name in os.listxattr(old):
            os.setxattr(new, name, os.getxattr(old, name))
    return ()


def _exchange(old: str, new: str, keep: str) -> None:
    """Link old as keep, move its companions, rename new over old; what fails takes the earlier steps back."""
    with ExitStack() as back:
        if os.path.lexists(old):
            try:
                os.link(old, keep, follow_symlinks=False)
                back.callback(os.unlink, keep)
            except PermissionError:
                # A filesystem without hard links: for a moment the name is free.
                os.rename(old, keep)
                back.callback(os.rename, keep, old)
        for companion in COMPANIONS:
            if os.path.lexists(old + companion):
                os.rename(old + companion, keep + companion)
                back.callback(os.rename, keep + companion, old + companion)
        os.rename(new, old)
        back.pop_all()
    sync_folder(os.path.dirname(old))
    sync_folder(os.path.dirname(keep))


ENGINE = SqliteEngine()
