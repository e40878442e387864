"""Check a restored data directory: its snapshot is whole, and a server that starts on it holds all of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from orchestrator.engines._common import compare
from orchestrator.engines.redis import trial
from orchestrator.engines.redis.folder import AOF_BASE, AOF_FOLDER, AOF_OLD, SNAPSHOT, untouched
from orchestrator.engines.redis.rdb import Contents, read
from orchestrator.model.engine import Item
from orchestrator.model.errors import Interrupted, ResguardoError
from orchestrator.model.execution import Executor, Finding, Undo

_BLOCK = 1 << 20


def verify(item: Item, to: str, expected: Mapping[str, int], at: Executor, undo: Undo) -> list[Finding]:
    """See orchestrator.model.engine.Engine; nothing is changed."""
    try:
        return list(_found(item, os.path.abspath(to), expected, at, undo))
    except Interrupted:
        raise
    except ResguardoError as error:
        return [Finding("error", f"{to!r}: {error.message}", error.hint)]
    except OSError as error:
        return [Finding("error", f"{to!r}: {error.strerror}", "restore it again")]


def _found(item: Item, to: str, expected: Mapping[str, int], at: Executor, undo: Undo) -> Iterator[Finding]:
    contents = contents_of(os.path.join(to, SNAPSHOT))
    first = _first_of_append_only(to)
    if not os.path.samefile(first, os.path.join(to, SNAPSHOT)) and contents_of(first) != contents:
        yield Finding("error", f"{first!r}: does not hold what {SNAPSHOT} does", "restore it again")
    if not expected or contents.blind:
        yield Finding("info", f"{to!r}: its keys are not compared: {contents.blind or 'no counts were stored'}")
    else:
        yield from compare(contents.counts, expected, to)
    if not contents.checked:
        yield Finding("warning", f"{to!r}: the snapshot has no checksum", "set rdbchecksum yes where it is made")
    try:
        tried = trial.run(item, to, contents, at, undo)
    except trial.NotTried as reason:
        yield from _not_tried(to, str(reason))
    else:
        yield from _judged(to, tried, expected or contents.counts)


def contents_of(path: str) -> Contents:
    """Read a snapshot's file to its end. Raises OSError, Damaged."""
    with open(path, "rb", buffering=0) as file:
        return read(lambda: file.read(_BLOCK) or b"")


def _first_of_append_only(to: str) -> str:
    base = os.path.join(to, AOF_FOLDER, AOF_BASE)
    old = os.path.join(to, AOF_OLD)
    return old if os.path.exists(old) and not os.path.exists(base) else base


def _judged(to: str, tried: trial.Trial, expected: Mapping[str, int]) -> Iterator[Finding]:
    if tried.problem:
        yield Finding("error", f"{to!r}: {tried.problem}", "restore another point")
    elif expected.get("keys") and not tried.counts.get("keys"):
        yield Finding("error", f"{to!r}: {tried.server} starts on it with no keys", "restore it again")
    else:
        yield from compare(tried.counts, expected, f"{to} in {tried.server}")


def _not_tried(to: str, reason: str) -> Iterator[Finding]:
    if not untouched(to):
        yield Finding("error", f"{to!r}: was written to since it was restored", "restore it again")
    text = f"{to!r}: was read and compared, but no server was started on it: {reason}"
    yield Finding("info", text, "start one on a copy of it, and compare DBSIZE")
