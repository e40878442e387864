"""Retention: look at the repository, plan with reasons, pass the guard, forget commits first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from orchestrator.model.names import point_id
from orchestrator.model.point import Point
from orchestrator.model.record import Event, Forgotten, RunRecord
from orchestrator.model.repository import Repository
from orchestrator.planning.due import due as due_by_rule
from orchestrator.planning.guard import brakes
from orchestrator.planning.listing import Listing, Place, sort
from orchestrator.planning.retention import decide
from orchestrator.planning.tidy import Orphan, RetentionPlan, Series
from orchestrator.policy.models import KeepRules
from orchestrator.runs import verify
from orchestrator.runs.rebuild import learn
from orchestrator.runs.recording import finish_run, new_run, record_of
from orchestrator.runs.toolbox import Toolbox


@dataclass(frozen=True)
class Rules:
    """The retention rules of one repository: per tier, the calendar's time zone, and how many proven points stay."""

    tiers: Mapping[str, KeepRules]
    zone: str
    keep_proven: int

    def encode(self) -> str:
        """Return the form that the catalog keeps."""
        tiers = {tier: rules.model_dump(exclude_none=True) for tier, rules in self.tiers.items()}
        return json.dumps({"tiers": tiers, "zone": self.zone, "keep_proven": self.keep_proven}, sort_keys=True)

    @classmethod
    def decode(cls, text: str) -> Rules:
        """Read that form."""
        body = json.loads(text)
        tiers = {tier: KeepRules.model_validate(rules) for tier, rules in body["tiers"].items()}
        return cls(tiers, body["zone"], body["keep_proven"])


@dataclass(frozen=True)
class Kept:
    """How retention went. text: for the report · exit_code: 0, 1 (braked or failed), 11 (locked)."""

    text: str = ""
    error: str = ""
    exit_code: int = EXIT_DONE
    forgotten: tuple[Forgotten, ...] = ()
    events: tuple[Event, ...] = field(default=())


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
    except Interrupted:
        raise
    except ResguardoError as error:
        return _refused(box, repository, run, _event_of(error), error)


def _refused(box: Toolbox, repository: Repository, run: str, name: str, error: ResguardoError) -> Kept:
    event = Event(box.clock(), name, "warning", error.message, run=run, repository=repository.name, hint=error.hint)
    return Kept(text=name, error=error.message, exit_code=error.exit_code, events=(event,))


def look(box: Toolbox, repository: Repository, run: str, undo: Undo) -> RetentionPlan:
    """List the repository, learn what is new in it, and decide; nothing is removed."""
    learned = learn(box, repository, undo)
    reach("retention.listed")
    return _plan(box, repository, learned.listing, dict(learned.broken), run)


def preview(box: Toolbox, repository: Repository, undo: Undo) -> RetentionPlan:
    """List the repository and decide over the points that the catalog knows; nothing is changed anywhere."""
    return _plan(box, repository, sort(repository.snapshots(undo)), {}, "")


def _plan(box: Toolbox, repository: Repository, listing: Listing, broken: dict[str, str], run: str) -> RetentionPlan:
    points = box.catalog.points(repository=repository.name, items=False)
    listed = [point for point in points if _place(point) in listing.commits]
    gone = tuple(point for point in points if _place(point) not in listing.commits)
    active = {source.service for source in box.sources}
    living = [point for point in listed if point.service in active]
    series = _decide(box, living, _rules(box, repository.name))
    plan = RetentionPlan(
        repository.name,
        series,
        _orphans(box, listing, listed, run, broken),
        gone,
        (),
        tuple(sorted({point.service for point in listed} - active)),
    )
    return replace(plan, brakes=_brakes(box, repository, plan, listed, listing))


def _place(point: Point) -> Place:
    return point.service, point.tier, point.run


def _rules(box: Toolbox, repository: str) -> Rules:
    """Return the rules in force in a repository: its own where it has some, else the policy's."""
    policy = box.config.policy
    own = policy.repositories[repository].retention or {}
    tiers = {**policy.retention.tiers, **own}
    return Rules(tiers, policy.timezone, policy.retention.guard.keep_proven)


def _decide(box: Toolbox, points: Sequence[Point], rules: Rules) -> tuple[Series, ...]:
    series: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        series.setdefault((point.service, point.tier), []).append(point)
    return tuple(
        (
            service,
            tier,
            decide(
                found,
                rules.tiers.get(tier) or rules.tiers["default"],
                box.clock(),
                rules.zone,
                keep_proven=rules.keep_proven,
            ),
        )
        for (service, tier), found in sorted(series.items())
    )


def _orphans(
    box: Toolbox, listing: Listing, listed: Sequence[Point], run: str, broken: dict[str, str]
) -> tuple[Orphan, ...]:
    over = box.catalog.over_runs()
    named = {snapshot for point in listed for snapshot in point.snapshots.values()}
    known = {_place(point) for point in listed}
    orphans = []
    for place, parts in listing.parts.items():
        stray = tuple(part.id for part in parts if part.id not in named)
        if place[2] == run or not stray or (place in listing.commits and place not in known):
            continue
        ours = place[2] in over
        what = "no commit" if place not in listing.commits else "not part of what was committed"
        orphans.append(
            Orphan(stray, point_id(*place), ours, what if ours else f"{what}, and its run is not known here")
        )
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
        active = {source.service for source in box.sources}
        living = [point for point in listed if point.service in active]
        series = _decide(box, living, Rules.decode(last))
        before = [removed.point for _, _, decision in series for removed in decision.remove]
    harm = verify.damage(box, repository)
    return (
        *((f"the repository is damaged: {harm}",) if harm else ()),
        *brakes(
            listed=listed,
            removing=[point for point, _ in plan.removing],
            ageing=before,
            expected=box.catalog.expected_snapshots(repository.name),
            found=listing.ids,
            max_forget=box.config.policy.retention.guard.max_forget,
            now=box.clock(),
            removed=set(json.loads(box.catalog.get(_pending(repository)) or "[]")),
        ),
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
    going = {point.id for point in points}
    staying = {
        snapshot
        for point in box.catalog.points(repository=repository.name, items=False)
        if point.id not in going
        for snapshot in point.snapshots.values()
    }
    parts = [snapshot for point in points for part, snapshot in point.snapshots.items() if part != "commit"]
    return [snapshot for snapshot in parts if snapshot not in staying]


def remember_rules(box: Toolbox, repository: Repository) -> None:
    """Note the rules in force: what they remove later is steady ageing, which the guard lets pass."""
    box.catalog.put(f"retention.rules.{repository.name}", _rules(box, repository.name).encode())


def prune(box: Toolbox, *, force: bool, wait: float) -> RunRecord:
    """Run retention now in every repository, then free the space; recorded as a run of its own."""
    with box.lock(wait):
        run, started = new_run(box, "prune")
        outcomes: list[Kept] = []
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
                    outcomes.append(_refused(box, repository, run, _event_of(failure), failure))
                    error = error or failure
        return finish_run(
            box,
            record_of(
                box,
                "prune",
                run,
                started,
                [kept.exit_code for kept in outcomes],
                error,
                forgotten=tuple(item for kept in outcomes for item in kept.forgotten),
                events=tuple(event for kept in outcomes for event in kept.events),
                error="; ".join(kept.error for kept in outcomes if kept.error),
            ),
        )


def _event_of(error: ResguardoError) -> str:
    if isinstance(error, GuardRefused):
        return "retention.braked"
    return "retention.blocked" if isinstance(error, RepositoryLocked) else "retention.failed"
