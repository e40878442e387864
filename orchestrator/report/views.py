"""What documents show of our objects whose own fields would say too much or too little: one view per class.

`plain` puts a view in its object's place wherever it stands, so that a restore point looks the same in every document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.model.engine import Source
from orchestrator.model.point import Point, PointItem, PointSource, State
from orchestrator.model.record import Event, Result, RunRecord, ServiceRecord
from orchestrator.planning.backup import PlannedSource
from orchestrator.planning.preflight import preflight
from orchestrator.planning.restore import RestorePlan, RestoreStep
from orchestrator.planning.retention import Decision
from orchestrator.planning.status import RepositoryStatus, ServiceStatus, Status
from orchestrator.planning.tidy import Orphan, RetentionPlan


@dataclass(frozen=True)
class SourceName:
    """A source's name and place; its options and its secrets are for engines only."""

    id: str
    service: str
    name: str
    engine: str
    tier: str
    container: str


@dataclass(frozen=True)
class StoredSource:
    """One stored item of a source; a source that stored nothing has one entry with empty `item` and `snapshot`."""

    name: str
    engine: str
    state: str
    outcome: str
    error: str
    repository: str
    item: str
    snapshot: str
    path: str
    bytes: int
    sha256: str | None
    counts: Mapping[str, int]


@dataclass(frozen=True)
class RestorePoint:
    """A restore point with one entry of `sources` per stored item, so that each names one snapshot and one path."""

    id: str
    service: str
    tier: str
    run: str
    time: datetime
    ended: datetime
    state: State
    partial: bool
    damaged: bool
    lost: bool
    retired: bool
    repository: str
    host: str
    commit: str
    bytes: int
    sources: tuple[StoredSource, ...]


@dataclass(frozen=True)
class PointSummary:
    """A restore point without its sources."""

    id: str
    time: datetime
    ended: datetime
    state: State
    partial: bool
    damaged: bool
    lost: bool
    retired: bool
    repository: str
    bytes: int


@dataclass(frozen=True)
class KeptPoint:
    """A restore point that stays."""

    point: PointSummary
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class RemovedPoint:
    """A restore point that goes."""

    point: PointSummary
    reason: str


@dataclass(frozen=True)
class SeriesDecision:
    """What retention decides for one service and tier; both lists newest first."""

    service: str
    tier: str
    keep: tuple[KeptPoint, ...]
    remove: tuple[RemovedPoint, ...]


@dataclass(frozen=True)
class RetentionDecision:
    """What retention would do in one repository, with reasons."""

    repository: str
    series: tuple[SeriesDecision, ...]
    orphans: tuple[Orphan, ...]
    gone: tuple[PointSummary, ...]
    brakes: tuple[str, ...]
    retired: tuple[str, ...]
    foreign: tuple[str, ...]


@dataclass(frozen=True)
class PlannedStep:
    """One item's way back."""

    point: str
    source: str
    engine: str
    item: str
    role: str
    bytes: int
    target: str
    original: str
    kept: str


@dataclass(frozen=True)
class PlannedRestore:
    """All steps of a restore, in order."""

    service: str
    bytes: int
    steps: tuple[RestoreStep, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class RunSummary:
    """How a run ended; the catalog keeps its sources with their restore points."""

    id: str
    command: str
    started: datetime
    ended: datetime
    seconds: float
    result: Result
    exit_code: int
    error: str
    hint: str | None


@dataclass(frozen=True)
class ServiceStanding:
    """How one service and tier stands."""

    service: str
    tier: str
    level: str
    message: str
    newest: PointSummary | None
    proven: PointSummary | None
    points: int


@dataclass(frozen=True)
class Standing:
    """How everything stands."""

    host: str
    services: tuple[ServiceStanding, ...]
    repositories: tuple[RepositoryStatus, ...]
    last_run: RunSummary | None
    waiting: int
    events: tuple[Event, ...]
    elsewhere: Mapping[str, int]
    left: tuple[Event, ...]
    unnamed: Mapping[str, int]


def _source(source: Source) -> SourceName:
    return SourceName(source.id, source.service, source.name, source.engine, source.tier, source.container)


def _point(point: Point) -> RestorePoint:
    return RestorePoint(
        id=point.id,
        service=point.service,
        tier=point.tier,
        run=point.run,
        time=point.time,
        ended=point.ended,
        state=point.state,
        partial=point.partial,
        damaged=point.damaged,
        lost=point.lost,
        retired=point.retired,
        repository=point.repository,
        host=point.host,
        commit=point.snapshots.get("commit", ""),
        bytes=point.bytes,
        sources=tuple(
            _stored(point, source, item)
            for source in point.sources
            for item in source.items or (PointItem("", "", "", "", 0, None),)
        ),
    )


def _stored(point: Point, source: PointSource, item: PointItem) -> StoredSource:
    return StoredSource(
        name=source.name,
        engine=source.engine,
        state=source.outcome if source.state <= State.TAKEN else source.state.word,
        outcome=source.outcome,
        error=source.error,
        repository=point.repository,
        item=item.name,
        snapshot=item.snapshot,
        path=item.path,
        bytes=item.bytes,
        sha256=item.sha256,
        counts=item.counts,
    )


def _brief(point: Point) -> PointSummary:
    # Retention and status are about points alone, which they may have read without their items.
    return PointSummary(
        id=point.id,
        time=point.time,
        ended=point.ended,
        state=point.state,
        partial=point.partial,
        damaged=point.damaged,
        lost=point.lost,
        retired=point.retired,
        repository=point.repository,
        bytes=point.bytes,
    )


def _retention(plan: RetentionPlan) -> RetentionDecision:
    return RetentionDecision(
        plan.repository,
        tuple(_series(*series) for series in plan.series),
        plan.orphans,
        tuple(_brief(point) for point in plan.gone),
        plan.brakes,
        plan.retired,
        plan.foreign,
    )


def _series(service: str, tier: str, found: Decision) -> SeriesDecision:
    return SeriesDecision(
        service,
        tier,
        tuple(KeptPoint(_brief(kept.point), kept.reasons) for kept in found.keep),
        tuple(RemovedPoint(_brief(removed.point), removed.reason) for removed in found.remove),
    )


def _step(step: RestoreStep) -> PlannedStep:
    item = step.item
    return PlannedStep(
        point=step.point.id,
        source=step.source.name,
        engine=step.source.engine,
        item=item.name,
        role=item.role,
        bytes=item.bytes,
        target=step.target,
        original=step.original,
        kept="" if step.there is False else step.kept,
    )


def _restore(plan: RestorePlan) -> PlannedRestore:
    return PlannedRestore(plan.service, plan.bytes, plan.steps, plan.notes)


def _status(status: Status) -> Standing:
    services = tuple(_service(service) for service in status.services)
    last = _summary(status.last_run) if status.last_run else None
    return Standing(
        status.host,
        services,
        status.repositories,
        last,
        status.waiting,
        status.events,
        status.elsewhere,
        status.left,
        status.unnamed,
    )


def _service(service: ServiceStatus) -> ServiceStanding:
    newest, proven = (_brief(point) if point else None for point in (service.newest, service.proven))
    return ServiceStanding(
        service.service, service.tier, service.level, service.message, newest, proven, service.points
    )


def _summary(run: RunRecord) -> RunSummary:
    seconds, hint = _seconds(run), run.hint
    return RunSummary(run.id, run.command, run.started, run.ended, seconds, run.result, run.exit_code, run.error, hint)


def _seconds(record: RunRecord) -> float:
    return round(max(0.0, (record.ended - record.started).total_seconds()), 3)


def _bytes(service: ServiceRecord) -> int:
    return service.bytes


# class → the function that makes its view; the function's return type is the view's shape
VIEWS: Mapping[type, Callable[[Any], Any]] = {
    Source: _source,
    Point: _point,
    RetentionPlan: _retention,
    RestoreStep: _step,
    RestorePlan: _restore,
    Status: _status,
}
# class → keys beside its fields, each with the function that gives it
_EXTRAS: Mapping[type, Mapping[str, Callable[[Any], Any]]] = {
    PlannedSource: {"preflight": preflight},
    RunRecord: {"seconds": _seconds},
    ServiceRecord: {"bytes": _bytes},
}


def extras(kind: type) -> Mapping[str, Callable[[Any], Any]]:
    """Return the keys that a class has beside its fields, those of its bases included."""
    found: dict[str, Callable[[Any], Any]] = {}
    for base in reversed(kind.__mro__):
        found |= _EXTRAS.get(base, {})
    return found
