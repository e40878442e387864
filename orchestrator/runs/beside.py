"""Whether a repository lies beside the data that it is to save."""

from __future__ import annotations

import os
from collections.abc import Iterator

from orchestrator.model.engine import Source
from orchestrator.model.execution import Finding
from orchestrator.model.repository import Repository
from orchestrator.runs.toolbox import Toolbox

_FEW = 3  # paths that are named
_HINT = "keep the repository on another disk or machine, or copy it there regularly"


def beside_data(box: Toolbox, repository: Repository) -> tuple[Finding, ...]:
    """Warn when a local repository is on a file system that it backs up: one lost disk takes both."""
    place = repository.local_path()
    if place is None:
        return ()
    device = _device(place)
    paths = [path for source in box.sources for path in _paths(box, source) if _device(path) == device]
    if device is None or not paths:
        return ()
    some = ", ".join(map(repr, paths[:_FEW])) + (f" and {len(paths) - _FEW} more" if len(paths) > _FEW else "")
    text = f"{place!r} is on the same file system as {some}: a lost disk takes both"
    return (Finding("warning", text, _HINT),)


def _paths(box: Toolbox, source: Source) -> Iterator[str]:
    engine = box.engines[source.engine]
    if engine.places != "server":
        yield from getattr(source.options, "paths", None) or engine.originals(source).values()


def _device(path: str) -> int | None:
    """Return the file system's number of a path, or of its nearest parent that is there."""
    while True:
        try:
            return os.stat(path).st_dev
        except (FileNotFoundError, NotADirectoryError):
            path, last = os.path.dirname(path) or "/", path
            if path == last:
                return None
        except OSError:
            return None
