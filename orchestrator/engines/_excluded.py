"""What a files source leaves out of its backups, and what a restored tree therefore lacks."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.engines._patterns import is_excluded
from orchestrator.model.execution import Finding

if TYPE_CHECKING:
    from orchestrator.engines.files import Options

# What exclude_caches looks for: https://bford.info/cachedir/
CACHE_TAG = "CACHEDIR.TAG"
CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
MOST_LOOKS = 200_000  # entries; a few seconds
_FEW = 5


def left_out(path: str, status: os.stat_result, options: Options) -> str:
    """Return what of the options leaves this path out, in words; "" when nothing does."""
    pattern = is_excluded(path, options.exclude)
    if pattern is not None:
        return f"the exclude {pattern!r}"
    if stat.S_ISREG(status.st_mode):
        limit = options.exclude_larger_than
        return f"exclude_larger_than: it has {status.st_size} bytes" if limit and status.st_size > limit else ""
    if not stat.S_ISDIR(status.st_mode):
        return ""
    for marker in options.exclude_if_present:
        name, _, header = marker.partition(":")
        if _begins(os.path.join(path, name), header.encode()):
            return f"exclude_if_present {marker!r}, which it holds"
    if options.exclude_caches and _begins(os.path.join(path, CACHE_TAG), CACHE_SIGNATURE):
        return f"exclude_caches: it holds {CACHE_TAG}"
    return ""


def _begins(path: str, header: bytes) -> bool:
    if not header:
        return os.path.lexists(path)
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return os.read(fd, len(header)) == header
        finally:
            os.close(fd)
    return False


@dataclass(frozen=True)
class Found:
    """Entries below a path, each the topmost of its kind: names relative to it, and whether all was looked at."""

    names: tuple[str, ...]
    whole: bool

    @property
    def number(self) -> str:
        """How many, for people."""
        least = "" if self.whole else "at least "
        return f"{least}{len(self.names)} {'entry' if len(self.names) == 1 else 'entries'}"

    @property
    def be(self) -> str:
        """The verb that agrees with `number`."""
        return "is" if len(self.names) == 1 else "are"

    @property
    def some(self) -> str:
        """The first few names, for people."""
        rest = len(self.names) - _FEW
        return ", ".join(map(repr, self.names[:_FEW])) + (f" and {rest} more" if rest > 0 else "")


def _topmost(top: str, hit: Callable[[str, os.DirEntry[str]], bool]) -> Found:
    """Walk below `top`, not into what was hit."""
    names: list[str] = []
    looks, folders = 0, [""]
    while folders and looks < MOST_LOOKS:
        folder = folders.pop()
        with suppress(OSError), os.scandir(os.path.join(top, folder)) as entries:
            for entry in entries:
                looks += 1
                name = os.path.join(folder, entry.name)
                with suppress(OSError):
                    if hit(name, entry):
                        names.append(name)
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(name)
    return Found(tuple(sorted(names)), not folders)


def excluded_below(path: str, options: Options) -> Found:
    """Return what the options leave out below a path that is in use."""
    return _topmost(path, lambda name, entry: _is_left_out(path, name, entry, options))


def _is_left_out(path: str, name: str, entry: os.DirEntry[str], options: Options) -> bool:
    return bool(left_out(os.path.join(path, name), entry.stat(follow_symlinks=False), options))


def announced(paths: list[str], options: Options) -> Iterator[Finding]:
    """Say, before an in-place restore, what will then be in the kept copy alone."""
    for path in paths:
        found = excluded_below(path, options)
        if found.names:
            text = f"{path!r}: {found.number} excluded from backups will be in the kept copy alone: {found.some}"
            yield Finding("warning", text, "the result names the commands that copy them back")


def lacking(path: str, kept: str, options: Options) -> Iterator[Finding]:
    """Say, after an in-place restore, what only the kept copy has, and how it is copied back."""
    missing = _topmost(kept, lambda name, _entry: not os.path.lexists(os.path.join(path, name)))
    names = [name for name in missing.names if _was_left_out(path, kept, name, options)]
    out, other = Found(tuple(names), missing.whole), Found(tuple({*missing.names} - {*names}), missing.whole)
    if out.names:
        text = f"{path!r}: {out.number} excluded from backups {out.be} in the kept copy alone: {out.some}"
        yield Finding("warning", text, _copying(path, kept, out))
    if other.names:
        where = f"more {other.be} in the kept copy alone, newer than the restore point or excluded then"
        text = f"{path!r}: {other.number} {where}"
        yield Finding("info", text, f"diff -rq {shlex.quote(path)} {shlex.quote(kept)}")


def _was_left_out(path: str, kept: str, name: str, options: Options) -> bool:
    # By the name that it had, and by what it holds where it is now.
    with suppress(OSError):
        if is_excluded(os.path.join(path, name), options.exclude) is not None:
            return True
        bare, own = options.model_copy(update={"exclude": []}), os.path.join(kept, name)
        # A folder with a marker is stored with nothing but the marker in it.
        return any(left_out(one, os.lstat(one), bare) for one in (own, os.path.dirname(own)))
    return False


def _copying(path: str, kept: str, found: Found) -> str:
    if found.whole and len(found.names) <= _FEW:
        pairs = ((os.path.join(kept, name), os.path.join(path, name)) for name in found.names)
        return " && ".join(f"cp -a {shlex.quote(old)} {shlex.quote(new)}" for old, new in pairs)
    return f"cp -an {shlex.quote(kept)}/. {shlex.quote(path)}/ copies all that only the kept copy has, newer files too"
