"""Paths that hold nothing though they did before: a disk that is not mounted looks like that."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress

from orchestrator.model.engine import Source
from orchestrator.model.execution import Finding
from orchestrator.runs.toolbox import Toolbox


def emptied(box: Toolbox, source: Source, paths: Iterable[str]) -> list[Finding]:
    """Return an error for each path that is empty and held something when the source was last taken whole."""
    before = set(json.loads(box.catalog.get(_key(source)) or "[]"))
    return [
        Finding(
            "error",
            f"{path!r}: is empty, and was not before; is it not mounted?",
            "mount it; if it shall be empty, put a file such as .keep there",
        )
        for path in paths
        if path in before and not _filled(path)
    ]


def remember(box: Toolbox, source: Source, paths: Iterable[str]) -> None:
    """Note which paths hold something, now that the source was taken whole."""
    known = json.dumps([path for path in paths if _filled(path)])
    if known != box.catalog.get(_key(source)):
        box.catalog.put(_key(source), known)


def _filled(path: str) -> bool:
    with suppress(OSError), os.scandir(path) as entries:
        return next(entries, None) is not None
    return True


def _key(source: Source) -> str:
    return f"paths.{source.id}"
