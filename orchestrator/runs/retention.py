"""Retention: look at the repository, plan with reasons, pass the guard, forget commits first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.model.errors import EXIT_DONE, EXIT_FAILED, GuardRefused, RepositoryLocked, ResguardoError
from orchestrator.model.execution import Undo
from orchestrator.model.failpoints import reach
from orchestrator.model.names import point_id
from orchestrator.model.point import Point
from orchestrator.model.record import Event, Forgotten, RunRecord
from orchestrator.model.repository import Repository
from orchestrator.planning.due import due as due_by_rule
from orchestrator.planning.guard import brakes
from orchestrator.planning.listing import Listing, Place
from orchestrator.planning.retention import decide
from orchestrator.planning.tidy import Orphan, RetentionPlan, Series
from orchestrator.policy.models import KeepRules
from orchestrator.runs.rebuild import learn
from orchestrator.runs.recording import finish_run, new_run
from orchestrator.runs.toolbox import Toolbox


@dataclass(frozen=True)
class Kept:
    """How retention went. text: for the report · exit_code: 0, 1 (braked or failed), 11 (locked)."""

    text: str = ""
    error: str = ""
    exit_code: int = EXIT_DONE
    forgotten: tuple[Forgotten, ...] = ()
    events: tuple[Event, ...] = field(default=())


def nothing(reason: str) -> Kept:
    """Return the outcome of not running."""
    return Kept(text=f"not run: {reason}")


def due(box: Toolbox, repository: Repository) -> str:
    """Say why forgetting is due, or ""; a job that prunes replaces the rule."""
    last = _time(box.catalog.get(f"forget.last.{repository.name}"))
    return due_by_rule(last, box.config.policy.tidy.forget, box.clock(), by_job=_has_job(box))


def prune_due(box: Toolbox, repository: Repository) -> str:
    """Say why freeing space is due, or ""."""
    last = _time(box.catalog.get(f"prune.last.{repository.name}"))
    return due_by_rule(last, box.config.policy.tidy.prune, box.clock(), by_job=_has_job(box))


def _has_job(box: Toolbox) -> bool:
    return any(job.do == "prune" for job in box.config.policy.jobs.values())


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def when_due(box: Toolbox, repository: Repository, reason: str, run: str, undo: Undo) -> Kept:
    """Forget when there is a reason to; a failure is told and never raised, but for interruptions."""
    if not reason:
        return Kept()
    try:
        return apply(box, repository, look(box, repository, run, undo), run, undo, force=False)
    except (GuardRefused, RepositoryLocked) as error:
        name = "retention.braked" if isinstance(error, GuardRefused) else "retention.blocked"
        return _refused(box, repository, run, name, error)
    except ResguardoError as error:
        if error.exit_code in (130, 143):
            raise
        return _refused(box, repository, run, "retention.failed", error)


def _refused(box: Toolbox, repository: Repository, run: str, name: str, error: ResguardoError) -> Kept:
    event = Event(box.clock(), name, "warning", error.message, run=run, repository=repository.name, hint=error.hint)
    return Kept(text=name, error=error.message, exit_code=error.exit_code, events=(event,))


def look(box: Toolbox, repository: Repository, run: str, undo: Undo) -> RetentionPlan:
    """List the repository and decide; nothing is removed."""
    learned = learn(box, repository, undo)
    reach("retention.listed")
    points = box.catalog.points(repository=repository.name)
    listed = [point for point in points if _place(point) in learned.listing.commits]
    gone = tuple(point for point in points if _place(point) not in learned.listing.commits)
    active = {source.service for source in box.sources}
    retired = sorted({point.service for point in listed} - active)
    series = _decide(
        box, [point for point in listed if point.service in active], repository.name, box.config.policy.retention.tiers
    )
    plan = RetentionPlan(
        repository.name,
        series,
        _orphans(box, learned.listing, run, dict(learned.broken)),
        gone,
        (),
        tuple(retired),
    )
    return RetentionPlan(**{**vars(plan), "brakes": _brakes(box, repository, plan, listed, learned.listing)})


def _place(point: Point) -> Place:
    return point.service, point.tier, point.run


def _decide(box: Toolbox, points: Sequence[Point], repository: str, tiers: dict[str, KeepRules]) -> tuple[Series, ...]:
    policy = box.config.policy
    own = policy.repositories[repository].retention or {}
    series: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        series.setdefault((point.service, point.tier), []).append(point)
    return tuple(
        (
            service,
            tier,
            decide(
                found,
                own.get(tier) or tiers.get(tier) or own.get("default") or tiers["default"],
                box.clock(),
                policy.timezone,
                keep_proven=policy.retention.guard.keep_proven,
            ),
        )
        for (service, tier), found in sorted(series.items())
    )


def _orphans(box: Toolbox, listing: Listing, run: str, broken: dict[str, str]) -> tuple[Orphan, ...]:
    over = box.catalog.dead_runs() | {record.id for record in box.catalog.runs(limit=10_000)}
    orphans = []
    for place, parts in listing.orphans().items():
        if place[2] == run:
            continue
        ours = place[2] in over
        reason = "its run ended here without a commit" if ours else "its run is not known here"
        orphans.append(Orphan(tuple(part.id for part in parts), point_id(*place), ours, reason))
    for place, commit in listing.commits.items():
        if (name := point_id(*place)) in broken:
            ids = (commit.id, *(part.id for part in listing.parts.get(place, ())))
            orphans.append(Orphan(ids, name, ours=False, reason=broken[name]))
    return tuple(orphans)


def _brakes(
    box: Toolbox, repository: Repository, plan: RetentionPlan, listed: Sequence[Point], listing: Listing
) -> tuple[str, ...]:
    """Ask the guard, with what the last policy that ran would remove now as the measure of steady ageing."""
    last = box.catalog.get(f"retention.rules.{repository.name}")
    before: list[Point] | None = None
    if last:
        rules = {tier: KeepRules.model_validate(body) for tier, body in json.loads(last).items()}
        active = {source.service for source in box.sources}
        series = _decide(box, [point for point in listed if point.service in active], repository.name, rules)
        before = [removed.point for _, _, decision in series for removed in decision.remove]
    return brakes(
        listed=listed,
        removing=[point for point, _ in plan.removing],
        ageing=before,
        expected=box.catalog.expected_snapshots(repository.name),
        found=listing.ids,
        max_forget=box.config.policy.retention.guard.max_forget,
        now=box.clock(),
        removed=set(json.loads(box.catalog.get(_pending(repository)) or "[]")),
    )


def _pending(repository: Repository) -> str:
    return f"forget.pending.{repository.name}"


def apply(box: Toolbox, repository: Repository, plan: RetentionPlan, run: str, undo: Undo, *, force: bool) -> Kept:
    """Remove what the plan names: commits first, so that a cut leaves orphans and never half a point.

    Raises GuardRefused unless forced, RepositoryLocked.
    """
    if plan.brakes and not force:
        raise GuardRefused(
            f"repository {repository.name}: retention refused: {'; '.join(plan.brakes)}",
            "look at prune --dry-run; if all of it is wanted, run prune --force",
        )
    for point in plan.gone:
        box.catalog.remove_point(point.id, repository.name)
    removing = plan.removing
    orphans = [orphan for orphan in plan.orphans if orphan.ours]
    commits = [point.snapshots["commit"] for point, _ in removing]
    rest = _unshared(box, repository, [point for point, _ in removing]) + [
        snapshot for orphan in orphans for snapshot in orphan.snapshots
    ]
    # Known before they go: a run that is killed here must not make the next one think that the repository shrank.
    box.catalog.put(_pending(repository), json.dumps([*commits, *rest]))
    # The catalog first: it never lists what is going away. What stays after all is learnt again.
    with box.catalog.batch():
        for point, _ in removing:
            box.catalog.remove_point(point.id, repository.name)
    stayed = set(repository.forget(commits, undo, then=[snapshot for snapshot in rest if snapshot]).kept)
    reach("retention.forgotten")
    if stayed:
        learn(box, repository, undo)
    remember_rules(box, repository)
    box.catalog.put(f"forget.last.{repository.name}", box.clock().isoformat())
    forgotten = tuple(
        Forgotten(point.id, repository.name, tuple(point.snapshots.values()), reason) for point, reason in removing
    ) + tuple(Forgotten(orphan.place, repository.name, orphan.snapshots, orphan.reason) for orphan in orphans)
    if stayed:
        return Kept(
            "incomplete",
            f"{len(stayed)} snapshots are still listed after forgetting them",
            EXIT_FAILED,
            forgotten,
            (_not_removed(box, repository, run, stayed),),
        )
    return Kept(f"forgot {len(removing)} restore points" if removing else "nothing to forget", forgotten=forgotten)


def _not_removed(box: Toolbox, repository: Repository, run: str, stayed: set[str]) -> Event:
    message = f"repository {repository.name} keeps {len(stayed)} snapshots that were to be forgotten"
    hint = "an append-only server refuses deletion: run prune from a host that may delete"
    return Event(box.clock(), "retention.refused", "warning", message, run=run, repository=repository.name, hint=hint)


def _unshared(box: Toolbox, repository: Repository, points: Sequence[Point]) -> list[str]:
    staying = {
        snapshot
        for point in box.catalog.points(repository=repository.name)
        if point.id not in {removed.id for removed in points}
        for snapshot in point.snapshots.values()
    }
    return [
        snapshot
        for point in points
        for part, snapshot in point.snapshots.items()
        if part != "commit" and snapshot not in staying
    ]


def remember_rules(box: Toolbox, repository: Repository) -> None:
    """Note the rules in force: what they remove later is steady ageing, which the guard lets pass."""
    rules = {tier: rules.model_dump(exclude_none=True) for tier, rules in box.config.policy.retention.tiers.items()}
    box.catalog.put(f"retention.rules.{repository.name}", json.dumps(rules, sort_keys=True))


def prune(box: Toolbox, *, force: bool, wait: float) -> RunRecord:
    """Run retention now in every repository, then free the space; recorded as a run of its own."""
    with box.lock(wait):
        run, started = new_run(box, "prune")
        with box.undo(run) as undo:
            try:
                outcomes = [
                    _prune_one(box, repository, run, undo, force=force) for repository in box.repositories.values()
                ]
                error = None
            except ResguardoError as failure:
                outcomes, error = [], failure
        return finish_run(box, _prune_record(box, run, started, outcomes, error))


def _prune_one(box: Toolbox, repository: Repository, run: str, undo: Undo, *, force: bool) -> Kept:
    kept = apply(box, repository, look(box, repository, run, undo), run, undo, force=force)
    repository.prune(undo)
    box.catalog.put(f"prune.last.{repository.name}", box.clock().isoformat())
    return kept


def _prune_record(
    box: Toolbox, run: str, started: datetime, outcomes: Sequence[Kept], error: ResguardoError | None
) -> RunRecord:
    events = [event for kept in outcomes for event in kept.events]
    if isinstance(error, GuardRefused):
        events.append(Event(box.clock(), "retention.braked", "warning", error.message, run=run, hint=error.hint))
    code = error.exit_code if error else max((kept.exit_code for kept in outcomes), default=EXIT_DONE)
    return RunRecord(
        id=run,
        command="prune",
        host=box.config.policy.host,
        started=started,
        ended=box.clock(),
        result="refused" if isinstance(error, GuardRefused) else "failed" if code else "success",
        exit_code=code,
        forgotten=tuple(item for kept in outcomes for item in kept.forgotten),
        events=tuple(events),
        error=error.message if error else "; ".join(kept.error for kept in outcomes if kept.error),
        hint=error.hint if error else None,
    )
