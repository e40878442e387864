"""What retention would do in a repository: looked at, decided with reasons, measured by the guard; nothing removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.model.execution import Undo
from orchestrator.model.failpoints import reach
from orchestrator.model.names import point_id
from orchestrator.model.point import Point, PointSource, State
from orchestrator.model.repository import Repository
from orchestrator.planning.backup import PlannedPoint
from orchestrator.planning.guard import brakes
from orchestrator.planning.listing import Listing, Place
from orchestrator.planning.tidy import Orphan, RetentionPlan, decide_all
from orchestrator.runs import rules, verify
from orchestrator.runs.rebuild import Learned, learn
from orchestrator.runs.toolbox import Toolbox

COMING = "this-backup"  # stands for the run of points that are only planned


def look(box: Toolbox, repository: Repository, run: str, undo: Undo, *, judge: bool = True) -> RetentionPlan:
    """List the repository, learn what is new in it, and decide; nothing is removed.

    judge: see `learn`; False for whoever looks without the run lock.
    """
    learned = learn(box, repository, undo, judge=judge)
    reach("retention.listed")
    return _plan(box, repository, learned, run)


def preview(box: Toolbox, repository: Repository, planned: Sequence[PlannedPoint]) -> RetentionPlan:
    """Decide over the points that the catalog knows and those that a backup is about to make; asks nobody else."""
    coming = [_coming(box, repository, point) for point in planned]
    points = [*coming, *box.catalog.points(repository=repository.name, host=box.config.policy.host, items=False)]
    active = _active(box)
    living = [point for point in points if point.service in active]
    retired = tuple(sorted({point.service for point in points} - active))
    series = decide_all(living, rules.in_force(box, repository), box.clock())
    plan = RetentionPlan(repository.name, series, (), (), (), retired)
    return replace(plan, brakes=_brakes(box, repository, plan, points, None))


def _coming(box: Toolbox, repository: Repository, planned: PlannedPoint) -> Point:
    """Return a planned point as if it were there, with its sources as they would be."""
    sources = tuple(
        PointSource(source.source.name, source.source.engine, "failed" if source.trouble else "taken", ())
        for source in planned.sources
    )
    partial = any(source.trouble for source in planned.sources)
    return Point(
        planned.service,
        planned.tier,
        COMING,
        box.clock(),
        box.clock(),
        State.TAKEN if partial else State.COMMITTED,
        repository.name,
        partial=partial,
        sources=sources,
    )


def _active(box: Toolbox) -> set[str]:
    return {source.service for source in box.sources}


def _plan(box: Toolbox, repository: Repository, learned: Learned, run: str) -> RetentionPlan:
    listing = learned.listing
    listed = [point for point in learned.points if _place(point) in listing.commits]
    gone = tuple(point for point in learned.points if _place(point) not in listing.commits)
    active = _active(box)
    living = [point for point in listed if point.service in active]
    series = decide_all(living, rules.in_force(box, repository), box.clock())
    plan = RetentionPlan(
        repository.name,
        series,
        _orphans(box, listing, listed, run, dict(learned.broken)),
        gone,
        (),
        tuple(sorted({point.service for point in listed} - active)),
        tuple(snapshot.id for snapshot in listing.foreign),
    )
    lacks = len({snapshot for point in learned.points for snapshot in point.snapshots.values()} - listing.ids)
    return replace(plan, brakes=_brakes(box, repository, plan, listed, learned), lacks=lacks)


def _place(point: Point) -> Place:
    return point.service, point.tier, point.run


def _orphans(
    box: Toolbox, listing: Listing, listed: Sequence[Point], run: str, broken: Mapping[str, str]
) -> tuple[Orphan, ...]:
    over = box.catalog.over_runs()
    named = {snapshot for point in listed for snapshot in point.snapshots.values()}
    orphans = []
    for place, parts in listing.parts.items():
        stray = tuple(part.id for part in parts if part.id not in named)
        # What has a commit goes with it: its IDs may be others than the catalog believes.
        if place[2] == run or not stray or place in listing.commits:
            continue
        ours = place[2] in over
        reason = "no commit" if ours else "no commit, and its run is not known here"
        orphans.append(Orphan(stray, point_id(*place), ours, reason))
    for place, commit in listing.commits.items():
        if (name := point_id(*place)) in broken:
            ids = (commit.id, *(part.id for part in listing.parts.get(place, ())))
            orphans.append(Orphan(ids, name, ours=False, reason=broken[name]))
    return tuple(orphans)


def _brakes(
    box: Toolbox, repository: Repository, plan: RetentionPlan, listed: Sequence[Point], learned: Learned | None
) -> tuple[str, ...]:
    """Ask the guard, with what the last policy that ran would remove now as the measure of steady ageing.

    listing: None when the repository was not listed.
    """
    last = rules.last(box, repository)
    active = _active(box)
    living = [point for point in listed if point.service in active]
    before = last.removed(living, box.clock()) if last else None
    harm = verify.damage(box, repository)
    return (
        *((f"the repository is damaged: {harm}",) if harm else ()),
        *brakes(
            listed=listed,
            removing=[point for point, _ in plan.removing],
            ageing=before,
            expected={snapshot for point in learned.points for snapshot in point.snapshots.values()} if learned else (),
            found=learned.listing.ids if learned else (),
            since=last.since if last else None,
            max_forget=box.config.policy.retention.guard.max_forget,
            now=box.clock(),
        ),
    )
