"""Files and folders: restic reads them itself; this engine looks before and puts restored trees in place."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from orchestrator.engines._common import compare, mounts_below, put_in_place, sync_folder
from orchestrator.engines._excluded import announced, lacking, left_out
from orchestrator.engines._patterns import expression
from orchestrator.model.engine import Data, Dump, Facts, Item, Kept, Original, PathSet, Restored, Source
from orchestrator.model.errors import Bug, Precondition, ResguardoError, RestoreFailed, RightsMissing
from orchestrator.model.execution import Executor, Finding, Undo
from orchestrator.policy.base import Flag, PolicyModel
from orchestrator.policy.fault import fault
from orchestrator.policy.paths import LocalPath
from orchestrator.policy.units import Size

ITEM = "files"
BEFORE = "_before_"


def _pattern(text: str) -> str:
    try:
        expression(text.removeprefix("!"))
    except ValueError as error:
        raise fault(f"not a pattern: {error}", "see restic's manual, Excluding Files") from error
    return text


def _marker(text: str) -> str:
    if not text.partition(":")[0] or "/" in text.partition(":")[0]:
        raise fault("not a file's name", "write NAME, or NAME:HEADER")
    return text


class Options(PolicyModel):
    """paths: files and folders · the others are restic's: patterns, marker files (`NAME` or `NAME:HEADER`), a size."""

    paths: list[LocalPath] = Field(
        min_length=1, description="Files and folders; one that is missing makes the source partial."
    )
    exclude: list[Annotated[str, AfterValidator(_pattern)]] = Field(
        default_factory=list, description="restic's exclude patterns."
    )
    exclude_if_present: list[Annotated[str, AfterValidator(_marker)]] = Field(
        default_factory=list, description="Names of files that mark folders to leave out."
    )
    exclude_larger_than: Size | None = Field(default=None, description="Leave out files that are larger than this.")
    exclude_caches: Flag = Field(default=False, description="Leave out folders marked by a CACHEDIR.TAG file.")
    one_file_system: Flag = Field(default=False, description="Do not cross into other mounted file systems.")


class FilesEngine:
    """Names paths for restic. A restore's `to` is a folder below which every path lies with its whole name."""

    name = "files"
    Options: type[Any] = Options
    delivers: Literal["stream", "paths"] = "paths"
    places: Literal["path", "server"] = "path"

    def originals(self, source: Source) -> Mapping[str, str]:
        """The first path that lies in no other; the others are swapped with it."""
        return {ITEM: _outermost(source.options.paths)[0]} if source.options else {}

    def original(self, item: Item, at: Executor) -> Original:
        """Whether any of its paths is there, what hinders a swap, and what of it no restore point holds."""
        del at
        paths = _outermost(item.source.options.paths) if item.source.options else []
        there = [path for path in paths if os.path.lexists(path)]
        return Original(bool(there), (*_unmovable(paths), *announced(there, item.source.options)))

    def probe(self, source: Source, at: Executor, undo: Undo) -> Facts:
        """Look at every path, not below it: a walk would double restic's work."""
        del at, undo
        taken, _ = _checked(source.options)
        return Facts((Item(source, ITEM, ""),), findings=tuple(_notes(source.options, taken)))

    def paths(self, item: Item) -> PathSet:
        """Return the paths that can be taken, each looked at once more, with the user's excludes."""
        options = item.source.options
        taken, lacking = _checked(options)
        return PathSet(
            paths=taken,
            lacking=lacking,
            excludes=tuple(options.exclude),
            exclude_if_present=tuple(options.exclude_if_present),
            exclude_larger_than=str(options.exclude_larger_than) if options.exclude_larger_than else None,
            exclude_caches=options.exclude_caches,
            one_file_system=options.one_file_system,
        )

    def dump(self, item: Item, at: Executor, undo: Undo) -> AbstractContextManager[Dump]:
        """Not for this engine: it delivers paths."""
        del at, undo
        raise Bug(f"engine {self.name} delivers paths, not a stream: {item.source.id}")

    def restore(self, item: Item, data: Data, to: str, at: Executor, undo: Undo) -> Restored:
        """Not for this engine: restic writes files itself."""
        del data, to, at, undo
        raise Bug(f"engine {self.name} restores no stream: {item.source.id}")

    def verify(self, item: Item, to: str, expected: Mapping[str, int], at: Executor, undo: Undo) -> Sequence[Finding]:
        """The tree holds as many regular files (`files`) and `bytes` as were stored, and every path is there.

        With all the files back, a path that is not there was not in services.yml then: no fault of the restore.
        """
        del at, undo
        if not os.path.isdir(to):
            return (Finding("error", f"{to!r}: nothing was restored there"),)
        wanted = item.source.options.paths if item.source.options else ()
        absent = [path for path in wanted if not os.path.lexists(to + path)]
        found, unreadable = _count(to)
        return (
            *(_absent(to, path, counted="files" in expected) for path in absent),
            *(Finding("error", problem) for problem in unreadable),
            *compare({key: found[key] for key in found if key in expected}, expected, to),
        )

    def swap(self, item: Item, to: str, kept: str, at: Executor, undo: Undo) -> Kept:
        """Exchange every path with its restored tree below `to`; the old ones stay beside, named as `kept` ends.

        `kept` is `NAME_before_TIME`: each path's old tree gets its own name and that ending. All are looked at before
        the first is touched; a failure takes back what was done.
        """
        del at
        ending = kept[kept.rfind(BEFORE) :] if BEFORE in kept else f"_{os.path.basename(kept)}"
        moves = [(to + path, path, path + ending) for path in _outermost(item.source.options.paths)]
        for move in moves:
            _assert_movable(*move)
        present = {path: keep for _, path, keep in moves if os.path.lexists(path)}
        with ExitStack() as back:
            for new, path, keep in moves:
                try:
                    put_in_place(new, path, keep, back, undo)
                except OSError as error:
                    reason = f"{path!r}: {error.strerror}; all paths were put back"
                    raise RestoreFailed(reason, "mend it, then try again") from error
            back.pop_all()
        for new, path, _ in moves:
            sync_folder(os.path.dirname(path))
            _remove_empty(os.path.dirname(new), to)
        notes = [note for path, keep in present.items() for note in lacking(path, keep, item.source.options)]
        return Kept(", ".join(present.values()) or None, tuple(notes))


def _absent(to: str, path: str, *, counted: bool) -> Finding:
    if not counted:
        return Finding("error", f"{to + path!r}: was not restored")
    text = f"{path!r} is not in the restore point, which holds what services.yml named and was there then"
    return Finding("warning", text, f"see what lies below {to!r}")


def _checked(options: Options) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Return the paths that can be taken, each once, and why others cannot: one of them must not stop the rest.

    Raises Precondition or RightsMissing, naming every path, when none can be taken.
    """
    found = {path: _trouble(path, options) for path in options.paths}
    wrong = [trouble for trouble in found.values() if trouble is not None]
    if len(wrong) == len(found):
        raise type(wrong[0])("; ".join(trouble.message for trouble in wrong), wrong[0].hint)
    lacking = tuple(Finding("error", trouble.message, trouble.hint) for trouble in wrong)
    return tuple(path for path, trouble in found.items() if trouble is None), lacking


def _trouble(path: str, options: Options) -> ResguardoError | None:
    """Return what would make restic store nothing, or too little, of this path without saying so."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Precondition(f"{path!r}: no such file or directory", "correct the path, or mount what holds it")
    except PermissionError:
        return RightsMissing(f"{path!r}: its directory may not be searched", "run as root or as its owner")
    if stat.S_ISLNK(status.st_mode):
        target = os.path.realpath(path)
        return Precondition(f"{path!r}: is a link; only the link would be stored", f"give its target: {target!r}")
    if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
        return Precondition(f"{path!r}: is neither a file nor a directory", "give files and directories only")
    if not os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(status.st_mode) else 0)):
        return RightsMissing(f"{path!r}: may not be read", "run as root or as its owner")
    reason = left_out(path, status, options)
    return Precondition(f"{path!r}: is left out itself by {reason}", "narrow the exclude") if reason else None


def _notes(options: Options, paths: Sequence[str]) -> Iterator[Finding]:
    inside = [path for path in paths if path not in _outermost(paths)]
    for path in inside:
        yield Finding("info", f"{path!r}: lies in another path of the same source")
    for path in sorted({path for path in options.paths if options.paths.count(path) > 1}):
        yield Finding("info", f"{path!r}: is named more than once")
    for path in paths:
        if os.path.isdir(path) and not os.listdir(path):
            yield Finding("warning", f"{path!r}: is empty", "is its file system mounted?")


def _outermost(paths: Sequence[str]) -> list[str]:
    """Return the paths that lie in no other, in order, each once."""
    unique = list(dict.fromkeys(paths))
    folders = {path: f"{path.rstrip('/')}/" for path in unique}
    return [one for one in unique if not any(one.startswith(folders[other]) for other in unique if other != one)]


def _count(folder: str) -> tuple[dict[str, int], list[str]]:
    """Count the regular files below a folder and their bytes, each name of a file for itself, as restic does."""
    files = size = 0
    unreadable: list[str] = []
    left = [folder]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        files += 1
                        size += entry.stat(follow_symlinks=False).st_size
        except OSError as error:
            unreadable.append(f"{error.filename!r}: {error.strerror}")
    return {"files": files, "bytes": size}, unreadable


def _unmovable(paths: Sequence[str]) -> Iterator[Finding]:
    """Tell which paths could not be swapped by renaming: all that is restored lies beside the first one."""
    copy = "restore it with --to, and copy what you need"
    beside = os.path.dirname(paths[0]) if paths else ""
    for path in paths:
        parent = os.path.dirname(path)
        if path == "/" or os.path.ismount(path):
            yield Finding("error", f"{path!r}: is a mount point, which cannot be renamed", copy)
        elif inside := mounts_below(path):
            text = f"{path!r}: {inside[0]!r} is mounted in it, and would go away with what is replaced"
            yield Finding("error", text, f"unmount it first, or {copy}")
        elif not os.path.isdir(parent) and os.path.commonpath([parent, beside]) != parent:
            yield Finding("error", f"{parent!r}: no such directory", "create it first")
        elif _device(parent) != _device(beside):
            text = f"{path!r}: lies on another file system than {paths[0]!r}"
            yield Finding("error", text, f"give each file system a source of its own, or {copy}")


def _device(folder: str) -> int:
    """Return the file system that a folder lies on, or would lie on if it were made."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return os.stat(folder).st_dev


def _assert_movable(new: str, path: str, keep: str) -> None:
    """Refuse, before anything is touched, what could not be done by renaming."""
    parent = os.path.dirname(path)
    if not os.path.lexists(new):
        raise RestoreFailed(f"{path!r}: is not in the restore point", "restore with --to, and copy what you need")
    if path == "/":
        raise Precondition("'/': cannot be swapped as a whole", "restore it to a directory and copy what you need")
    if os.path.lexists(keep):
        raise RestoreFailed(f"{keep!r}: exists already", "move it away first")
    if not os.path.isdir(parent):
        raise Precondition(f"{parent!r}: no such directory", "create it first")
    device = os.stat(parent).st_dev
    if os.lstat(new).st_dev != device:
        raise Precondition(f"{new!r}: lies on another file system than {path!r}", "restore beside the original")
    if os.path.ismount(path):
        raise Precondition(f"{path!r}: is a mount point, which cannot be renamed", "restore to a directory and copy")
    if inside := mounts_below(path):
        raise Precondition(f"{path!r}: {inside[0]!r} is mounted in it", "unmount it first, or restore to a directory")


def _remove_empty(folder: str, top: str) -> None:
    """Remove the folders that restic made around a path, as far as they are empty, up to and with `top`."""
    while len(folder) >= len(top):
        try:
            os.rmdir(folder)
        except OSError:
            return
        folder = os.path.dirname(folder)


ENGINE = FilesEngine()
