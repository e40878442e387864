"""Retention: look at the repository, plan with reasons, pass the guard, forget commits first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.model.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    GuardRefused,
    Interrupted,
    RepositoryLocked,
    ResguardoError,
)
from orchestrator.model.execution import Undo
from orchestrator.model.failpoints import reach
from orchestrator.model.point import Point
from orchestrator.model.record import Event, Forgotten, RunRecord
from orchestrator.model.repository import Repository
from orchestrator.planning.due import due as due_by_rule
from orchestrator.planning.tidy import RetentionPlan
from orchestrator.report.units import count
from orchestrator.runs import identity, rules, verify
from orchestrator.runs.rebuild import mark_going, settle
from orchestrator.runs.recording import finish_run, new_run, record_of
from orchestrator.runs.retention_plan import look
from orchestrator.runs.toolbox import Toolbox

_LOOK = "`resguardo prune --dry-run` shows every decision; if all of it is wanted, `resguardo prune --force` goes on"
MEND = "see docs/disaster-recovery.md first: older restore points may be the only good ones"
_AGAIN = (
    "`resguardo catalog rebuild` first: it finds snapshots that got other IDs; for what is gone, see"
    " docs/disaster-recovery.md"
)
# What happened instead of forgetting: the event's name, and the words of the report.
_BRAKED = ("retention.braked", "retention refused")
_BLOCKED = ("retention.blocked", "retention put off: the repository is locked")
_FAILED = ("retention.failed", "retention failed")


@dataclass(frozen=True)
class RetentionEnd:
    """How retention went. text: for the report · exit_code: 0, 1 (braked or failed), 11 (locked)."""

    text: str = ""
    error: str = ""
    exit_code: int = EXIT_DONE
    forgotten: tuple[Forgotten, ...] = ()
    events: tuple[Event, ...] = field(default=())


def due(box: Toolbox, repository: Repository) -> str:
    """Say why forgetting is due, or ""; a job that prunes replaces the rule."""
    return due_by_rule(last_done(box, repository), box.config.policy.tidy.forget, box.clock(), by_job=_has_job(box))


def prune_due(box: Toolbox, repository: Repository) -> str:
    """Say why freeing space is due, or ""."""
    last = _time(box.catalog.get(f"prune.last.{repository.name}"))
    return due_by_rule(last, box.config.policy.tidy.prune, box.clock(), by_job=_has_job(box))


def last_done(box: Toolbox, repository: Repository) -> datetime | None:
    """Return when retention last did its work in a repository."""
    return _time(box.catalog.get(f"forget.last.{repository.name}"))


def _has_job(box: Toolbox) -> bool:
    return any(job.do == "prune" for job in box.config.policy.jobs.values())


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def when_due(box: Toolbox, repository: Repository, reason: str, run: str, undo: Undo) -> RetentionEnd:
    """Forget when there is a reason to; a failure is told and never raised, but for interruptions."""
    if not reason:
        return RetentionEnd()
    try:
        return apply(box, repository, look(box, repository, run, undo), run, undo, force=False)
    except Interrupted:
        raise
    except ResguardoError as error:
        return _refused(box, repository, run, error)


def _refused(box: Toolbox, repository: Repository, run: str, error: ResguardoError) -> RetentionEnd:
    name, text = _BRAKED if isinstance(error, GuardRefused) else _FAILED
    if isinstance(error, RepositoryLocked):
        name, text = _BLOCKED
    event = Event(box.clock(), name, "warning", error.message, run=run, repository=repository.name, hint=error.hint)
    return RetentionEnd(text, error.message, error.exit_code, events=(event,))


def apply(
    box: Toolbox, repository: Repository, plan: RetentionPlan, run: str, undo: Undo, *, force: bool
) -> RetentionEnd:
    """Remove what the plan names: commits first, so that a cut leaves orphans and never half a point.

    The catalog lists a point until it is proved that its commit went. Raises GuardRefused unless forced,
    RepositoryLocked.
    """
    _pass_guard(box, repository, plan, force=force)
    for point in plan.gone:
        box.catalog.remove_point(point.id, repository.name)
    commits, rest = _ids(box, repository, plan)
    mark_going(box, repository, [*commits, *rest])
    kept = set(repository.forget(commits, undo, then=rest).kept)
    reach("retention.forgotten")
    settle(box, repository, [point for point, _ in plan.removing], kept)
    rules.remember(box, repository)
    box.catalog.put(f"forget.last.{repository.name}", box.clock().isoformat())
    return _ended(box, repository, plan, run, kept)


def _pass_guard(box: Toolbox, repository: Repository, plan: RetentionPlan, *, force: bool) -> None:
    if plan.brakes and not force:
        hint = MEND if verify.damage(box, repository) else _AGAIN if plan.lacks else _LOOK
        if identity.changed(box, repository):
            hint = identity.OTHER
        raise GuardRefused(f"nothing was removed from repository {repository.name}: {'; '.join(plan.brakes)}", hint)


def _ids(box: Toolbox, repository: Repository, plan: RetentionPlan) -> tuple[list[str], list[str]]:
    """Return the restic IDs that go: first the commits, then what they stood on, and orphans of ours."""
    going = [point for point, _ in plan.removing]
    orphans = [snapshot for orphan in plan.orphans if orphan.ours for snapshot in orphan.snapshots]
    rest = [snapshot for snapshot in _unshared(box, repository, going) if snapshot]
    return [point.snapshots["commit"] for point in going], [*rest, *orphans]


def _ended(box: Toolbox, repository: Repository, plan: RetentionPlan, run: str, kept: set[str]) -> RetentionEnd:
    """Say what went. kept: the restic IDs that were to go and are still there."""
    points = tuple(
        Forgotten(point.id, repository.name, tuple(point.snapshots.values()), reason)
        for point, reason in plan.removing
        if point.snapshots["commit"] not in kept
    )
    orphans = tuple(
        Forgotten(orphan.place, repository.name, orphan.snapshots, orphan.reason, orphan=True)
        for orphan in plan.orphans
        if orphan.ours and kept.isdisjoint(orphan.snapshots)
    )
    if kept:
        event = _not_removed(box, repository, run, kept)
        return RetentionEnd("retention incomplete", event.message, EXIT_FAILED, (*points, *orphans), (event,))
    left = sum(not orphan.ours for orphan in plan.orphans)
    note = f"; {left} without a restore point left alone (see prune --dry-run)" if left else ""
    return RetentionEnd(f"{_told((*points, *orphans))}{note}", forgotten=(*points, *orphans))


def _told(forgotten: Sequence[Forgotten]) -> str:
    numbers = Counter("orphan" if each.orphan else "restore point" for each in forgotten)
    told = [count(numbers[what], what) for what in ("restore point", "orphan") if numbers[what]]
    return f"forgot {' and '.join(told)}" if told else "nothing to forget"


def _not_removed(box: Toolbox, repository: Repository, run: str, kept: Collection[str]) -> Event:
    message = f"repository {repository.name} keeps {len(kept)} snapshots that were to be forgotten"
    hint = "an append-only server refuses deletion: run prune from a host that may delete"
    return Event(box.clock(), "retention.refused", "warning", message, run=run, repository=repository.name, hint=hint)


def _unshared(box: Toolbox, repository: Repository, points: Sequence[Point]) -> list[str]:
    going = {point.id for point in points}
    staying = {
        snapshot
        for point in box.catalog.points(repository=repository.name, items=False)
        if point.id not in going
        for snapshot in point.snapshots.values()
    }
    parts = [snapshot for point in points for part, snapshot in point.snapshots.items() if part != "commit"]
    return [snapshot for snapshot in parts if snapshot not in staying]


def prune(box: Toolbox, *, force: bool, wait: float) -> RunRecord:
    """Run retention now in every repository, then free the space; recorded as a run of its own."""
    with box.lock(wait):
        run, started = new_run(box, "prune")
        ends: list[RetentionEnd] = []
        error: ResguardoError | None = None
        with box.undo(run) as undo:
            for repository in box.repositories.values():
                try:
                    end = apply(box, repository, look(box, repository, run, undo), run, undo, force=force)
                    ends.append(end)
                    ends.append(_free(box, repository, end, run, undo))
                except Interrupted as stop:
                    error = stop
                    break
                except ResguardoError as failure:
                    ends.append(_refused(box, repository, run, failure))
                    error = error or failure
        return finish_run(box, _record(box, run, started, ends, error))


def _free(box: Toolbox, repository: Repository, end: RetentionEnd, run: str, undo: Undo) -> RetentionEnd:
    """Free the space of what was forgotten; a failure takes nothing of that back. Raises Interrupted."""
    reach("prune.started")
    try:
        repository.prune(undo)
    except Interrupted:
        raise
    except ResguardoError as error:
        what = _told(end.forgotten)
        message = f"repository {repository.name}: {what}, but no space was freed: {error.message}"
        hint = error.hint or "`resguardo prune` frees it; what was forgotten stays forgotten"
        event = Event(box.clock(), "prune.failed", "warning", message, run=run, repository=repository.name, hint=hint)
        return RetentionEnd("no space freed", message, error.exit_code, events=(event,))
    box.catalog.put(f"prune.last.{repository.name}", box.clock().isoformat())
    return RetentionEnd()


def _record(
    box: Toolbox, run: str, started: datetime, ends: Sequence[RetentionEnd], error: ResguardoError | None
) -> RunRecord:
    return record_of(
        box,
        "prune",
        run,
        started,
        [end.exit_code for end in ends],
        error,
        forgotten=tuple(item for end in ends for item in end.forgotten),
        events=tuple(event for end in ends for event in end.events),
        error="; ".join(end.error for end in ends if end.error),
        hint=next((event.hint for end in ends for event in end.events if event.hint), None),
    )
