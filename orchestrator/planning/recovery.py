"""Whether a run that went well ends a trouble that was told before: of the same command and the same service. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.model.record import RunRecord

_FLAWS = frozenset({"source.failed", "source.partial", "point.failed"})


@dataclass(frozen=True)
class Recovery:
    """What works again. services: none where the whole command had failed · failed: when it last did."""

    services: tuple[str, ...]
    failed: datetime


def recovery(done: RunRecord, before: Sequence[RunRecord]) -> Recovery | None:
    """Say what a run repaired. before: earlier runs of the same command, newest first; only the last of each counts."""
    if done.result != "success":
        return None
    mended = {
        subject: last
        for subject in _subjects(done) or {""}
        if (last := next((run for run in before if _concerns(run, subject)), None)) and _troubled(run=last, of=subject)
    }
    if not mended:
        return None
    return Recovery(tuple(sorted(filter(None, mended))), max(run.ended for run in mended.values()))


def _subjects(run: RunRecord) -> set[str]:
    """Return the services that a run was about; none when it is not known, or it was about the repository."""
    told = {event.service for event in run.events if event.name.startswith("run.")}
    return {service.service for service in run.services} or told - {""}


def _concerns(run: RunRecord, subject: str) -> bool:
    """A backup that came to no service, or was cut off, may have been meant for all; a restore is of one service."""
    subjects = _subjects(run)
    if not subject or subject in subjects:
        return True
    return run.command != "restore" and (not subjects or run.result == "interrupted")


def _troubled(*, run: RunRecord, of: str) -> bool:
    if run.result == "success":
        return False
    flawed = {service.service for service in run.services if service.error or not service.point}
    flawed |= {event.service for event in run.events if event.name in _FLAWS}
    # A run whose services are all well failed as a whole: at retention or at a check.
    return not of or not run.services or not flawed or of in flawed or of not in _subjects(run)
