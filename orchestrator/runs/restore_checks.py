"""What is looked at before a restore writes anything: its room, and what must never be swapped."""

from __future__ import annotations

import os

from orchestrator.model.errors import DiskFull, Precondition
from orchestrator.planning.backup import seen_through
from orchestrator.planning.restore import RestorePlan, RestoreStep
from orchestrator.report.units import size
from orchestrator.runs.toolbox import Toolbox


def on_path(box: Toolbox, step: RestoreStep) -> bool:
    """Whether a step makes a file or folder, and not a database inside a server."""
    engine = box.engines.get(step.source.engine)
    return engine is not None and engine.places != "server"


def real_target(box: Toolbox, target: str) -> str:
    """Return a target with the links of its folder resolved; the target itself is not there yet."""
    folder, name = os.path.split(target)
    return os.path.join(box.here.real(folder), name)


def refuse_ours(box: Toolbox, service: str, planned: RestorePlan) -> None:
    """Refuse to swap a directory that holds what this restore, or a living database, stands on.

    A database that is lost does not live: its folder may come back, and the database into it.
    """
    ours = {place: reason for reason, places in box.here.places.items() for place in places}
    ours[box.config.policy_path] = "the policy"
    for source in box.sources:
        if source.engine == "sqlite" and os.path.lexists(box.here.real(source.options.path)):
            ours[source.options.path] = f"the database {source.id}"
    swapped = {step.source.name for step in planned.steps if step.original}
    for source in box.sources:
        if source.service != service or source.name not in swapped:
            continue
        for path in getattr(source.options, "paths", ()):
            real = box.here.real(path)
            for place, reason in ours.items():
                if seen_through(path, real, box.here.real(place)):
                    raise Precondition(
                        f"{path} cannot be swapped: {place} ({reason}) lies in it",
                        "restore it with --to, and move over what you need",
                    )


def enough_room(box: Toolbox, planned: RestorePlan) -> None:
    """Refuse, before anything is written, what the disks cannot hold: in place the old data stays beside the new.

    What a server needs for a database is not known beforehand: its disk may be another machine's.
    """
    needed: dict[int, tuple[str, int]] = {}
    for step in planned.steps:
        if not on_path(box, step):
            continue
        folder = os.path.dirname(real_target(box, step.target))
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        device = os.stat(folder).st_dev
        needed[device] = (folder, needed.get(device, ("", 0))[1] + step.item.bytes)
    for folder, wanted in needed.values():
        free = box.here.free(folder)
        if free < wanted:
            elsewhere = "restore with --to another disk" if planned.in_place else "choose another --to"
            text = f"{folder}: {size(free)} free, the restore needs {size(wanted)}"
            raise DiskFull(text, f"make room, or {elsewhere}")
