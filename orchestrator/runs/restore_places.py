"""In place: databases that lie in a folder which comes back in the same restore, and the order of the swaps."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import replace

from orchestrator.model.engine import Kept, Source
from orchestrator.model.errors import Precondition
from orchestrator.model.execution import Finding
from orchestrator.planning.backup import seen_through
from orchestrator.planning.restore import RestorePlan, RestoreStep
from orchestrator.runs.restore_checks import on_path
from orchestrator.runs.toolbox import Toolbox


def placed(box: Toolbox, service: str, planned: RestorePlan) -> RestorePlan:
    """Let a database file whose folder is swapped too be made beside that folder, and move into the new one.

    In its own folder it would go away with the old one, or there is no such folder yet. Raises Precondition when the
    folder is lost and nothing in the plan brings it back.
    """
    swapped = {step.source.name for step in planned.steps if step.original and step.item.part == "paths"}
    folders = [path for source in box.sources if _is(source, service, swapped) for path in source.options.paths]
    return replace(planned, steps=tuple(_placed(box, service, step, folders) for step in planned.steps))


def _is(source: Source, service: str, names: set[str]) -> bool:
    return source.service == service and source.name in names


def _placed(box: Toolbox, service: str, step: RestoreStep, folders: list[str]) -> RestoreStep:
    if not step.original or step.item.part == "paths" or not on_path(box, step):
        return step
    around = sorted(_around(box, folders, step.original), key=len)
    if around:
        # Two databases of one name may lie in folders of the same tree: the source's name tells them apart.
        name = f"{os.path.basename(step.target)}-{step.source.name}"
        return replace(step, target=os.path.join(os.path.dirname(around[0]), name))
    folder = os.path.dirname(step.original)
    if not os.path.isdir(folder):
        paths = [path for source in box.sources if source.service == service for path in _paths(source)]
        whole = "leave out --source: the files of the service bring it back" if _lies(box, paths, step) else ""
        text = f"{step.source.name} cannot be put in place: {folder!r}: no such directory"
        raise Precondition(text, whole or "create it first")
    return step


def _lies(box: Toolbox, paths: list[str], step: RestoreStep) -> bool:
    return any(_around(box, paths, step.original))


def _paths(source: Source) -> list[str]:
    return list(getattr(source.options, "paths", ()))


def _around(box: Toolbox, paths: list[str], place: str) -> Iterator[str]:
    """Yield the real names of those paths in which `place`, a real name, lies."""
    for path in paths:
        real = box.here.real(path)
        if real != place and seen_through(path, real, place):
            yield real


def swap_order(planned: RestorePlan) -> list[tuple[int, RestoreStep]]:
    """Return the steps with their places in the plan, as they are swapped.

    Databases first, since they may be in use, which stops the rest; then files; then what moves into those.
    """

    def turn(pair: tuple[int, RestoreStep]) -> int:
        step = pair[1]
        if step.item.part == "paths":
            return 1
        return 0 if os.path.dirname(step.target) == os.path.dirname(step.original) else 2

    return sorted(enumerate(planned.steps), key=turn)


def backed_up(box: Toolbox, step: RestoreStep, kept: Kept) -> tuple[Finding, ...]:
    """Say that a kept original lies in paths that are backed up: it is not left out, for it may be the better one."""
    if not kept.name or not on_path(box, step):
        return ()
    for source in box.sources:
        if any(_around(box, _paths(source), box.here.real(kept.name))):
            text = f"{kept.name!r} lies in the paths of {source.id}, and is backed up with them until it is removed"
            return (Finding("info", text, f"when nobody misses it: rm -r -- {shlex.quote(kept.name)}"),)
    return ()
