"""Retention: look at the repository, plan with reasons, pass the guard, forget commits first."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from orchestrator.runs import rules, verify
from orchestrator.runs.rebuild import learn
from orchestrator.runs.recording import finish_run, new_run, record_of
from orchestrator.runs.retention_plan import look, pending
from orchestrator.runs.toolbox import Toolbox

_LOOK = "`resguardo prune --dry-run` shows every decision; if all of it is wanted, `resguardo prune --force` goes on"
_MEND = "see docs/disaster-recovery.md first: older restore points may be the only good ones"
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

    Raises GuardRefused unless forced, RepositoryLocked.
    """
    if plan.brakes and not force:
        hint = _MEND if verify.damage(box, repository) else _LOOK
        raise GuardRefused(f"nothing was removed from repository {repository.name}: {'; '.join(plan.brakes)}", hint)
    for point in plan.gone:
        box.catalog.remove_point(point.id, repository.name)
    removing = plan.removing
    orphans = [orphan for orphan in plan.orphans if orphan.ours]
    commits = [point.snapshots["commit"] for point, _ in removing]
    rest = _unshared(box, repository, [point for point, _ in removing]) + [
        snapshot for orphan in orphans for snapshot in orphan.snapshots
    ]
    # Known before they go: a run that is killed here must not make the next one think that the repository shrank.
    box.catalog.put(pending(repository), json.dumps([*commits, *rest]))
    # The catalog first: it never lists what is going away. What stays after all is learnt again.
    with box.catalog.batch():
        for point, _ in removing:
            box.catalog.remove_point(point.id, repository.name)
    stayed = set(repository.forget(commits, undo, then=[snapshot for snapshot in rest if snapshot]).kept)
    reach("retention.forgotten")
    if stayed:
        learn(box, repository, undo)
    rules.remember(box, repository)
    box.catalog.put(f"forget.last.{repository.name}", box.clock().isoformat())
    forgotten = tuple(
        Forgotten(point.id, repository.name, tuple(point.snapshots.values()), reason) for point, reason in removing
    ) + tuple(Forgotten(orphan.place, repository.name, orphan.snapshots, orphan.reason) for orphan in orphans)
    if stayed:
        event = _not_removed(box, repository, run, stayed)
        return RetentionEnd("retention incomplete", event.message, EXIT_FAILED, forgotten, (event,))
    left = sum(not orphan.ours for orphan in plan.orphans)
    text = f"forgot {len(removing)} restore points" if removing else "nothing to forget"
    return RetentionEnd(
        f"{text}; {left} without a restore point left alone (see prune --dry-run)" if left else text,
        forgotten=forgotten,
    )


def _not_removed(box: Toolbox, repository: Repository, run: str, stayed: set[str]) -> Event:
    message = f"repository {repository.name} keeps {len(stayed)} snapshots that were to be forgotten"
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
        outcomes: list[RetentionEnd] = []
        error: ResguardoError | None = None
        with box.undo(run) as undo:
            for repository in box.repositories.values():
                try:
                    outcomes.append(apply(box, repository, look(box, repository, run, undo), run, undo, force=force))
                    reach("prune.started")
                    repository.prune(undo)
                    box.catalog.put(f"prune.last.{repository.name}", box.clock().isoformat())
                except Interrupted as stop:
                    error = stop
                    break
                except ResguardoError as failure:
                    outcomes.append(_refused(box, repository, run, failure))
                    error = error or failure
        return finish_run(
            box,
            record_of(
                box,
                "prune",
                run,
                started,
                [end.exit_code for end in outcomes],
                error,
                forgotten=tuple(item for end in outcomes for item in end.forgotten),
                events=tuple(event for end in outcomes for event in end.events),
                error="; ".join(end.error for end in outcomes if end.error),
                hint=next((event.hint for end in outcomes for event in end.events if event.hint), None),
            ),
        )
