"""Collect how everything stands, from the catalog alone: no repository is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator.model.errors import EXIT_FAILED
from orchestrator.model.record import Event, RunRecord
from orchestrator.planning.status import RepositoryStatus, Status, retention_trouble, services
from orchestrator.runs import retention, verify
from orchestrator.runs.toolbox import Toolbox

_AGAIN = "the next `resguardo prune`, or retention when it is due, ends this"
_MOMENT = timedelta(seconds=5)  # between a run's beginning and its journal
_RUNS = 100  # backups looked through for the last one of each service
_TROUBLES = 500  # events looked through for the first time that retention did not succeed


def status(box: Toolbox) -> Status:
    """Collect the status."""
    host = box.config.policy.host
    limit = timedelta(seconds=box.config.policy.health.max_age)
    ended = box.catalog.runs(command="backup", limit=_RUNS)
    runs = [*_killed(box, ended[0].started if ended else None), *ended]
    known = box.catalog.points(items=False)
    points = [point for point in known if point.repository in box.repositories]
    ours = [point for point in points if point.host == host]
    current = ((source.service, source.tier) for source in box.sources)
    troubles = [event for event in box.catalog.events(limit=20) if event.severity in ("failed", "warning", "partial")]
    return Status(
        host=host,
        services=services(ours, current, box.clock(), limit, [run for run in runs if run.host in (host, "")]),
        repositories=tuple(_repository(box, name) for name in box.repositories),
        last_run=runs[0] if runs else None,
        waiting=len(box.catalog.outbox()),
        events=tuple(troubles[:5]),
        left=tuple(_left(box)),
        unnamed=Counter(point.repository for point in known if point.repository not in box.repositories),
        elsewhere=Counter(point.host for point in points if point.host != host),
    )


def _killed(box: Toolbox, newest: datetime | None) -> Iterator[RunRecord]:
    """Return the backups since the last that ended which are dead, though no command has found them yet."""
    for run, started in box.catalog.unfinished("backup"):
        if (newest is None or started > newest) and box.clock() - started > _MOMENT and box.is_dead(run):
            host = box.config.policy.host
            yield RunRecord(run, "backup", host, started, started, "interrupted", EXIT_FAILED, error="it was killed")


def _left(box: Toolbox) -> Iterator[Event]:
    """Return what killed restores left for the user to mend, until the same service was restored or backed up well."""
    done = [run for name in ("restore", "backup") for run in box.catalog.runs(command=name) if run.result == "success"]
    for event in box.catalog.events(limit=_TROUBLES, name="recover.left"):
        if not any(run.started > event.time and _is_of(run, event.service) for run in done):
            yield event


def _is_of(run: RunRecord, service: str) -> bool:
    """Whether a run that went well was about a service: of a restore the closing event says which."""
    return service in {*(each.service for each in run.services), *(event.service for event in run.events)}


def _repository(box: Toolbox, name: str) -> RepositoryStatus:
    repository = box.repositories[name]
    notes = []
    if overdue := retention.prune_due(box, repository):
        notes.append(f"resguardo prune is due: {overdue}")
    check = box.catalog.last_check(name)
    harm = verify.damage(box, repository)
    if harm:
        notes.append(f"damaged: {harm}")
    if verify.forgotten(box, repository):
        notes.append("history was rebuilt: not checked since; `resguardo verify` checks it")
    events = box.catalog.events(limit=_TROUBLES, name="retention.*")
    stands = retention_trouble(
        (event for event in events if event.repository == name), retention.last_done(box, repository)
    )
    cleared = verify.disproved(box, repository)
    if stands and stands.hint == retention.MEND and not harm and cleared:
        stands = replace(stands, hint=f"that damage was disproved at {cleared:%Y-%m-%d %H:%M} UTC: {_AGAIN}")
    points = box.catalog.points(repository=name, host=box.config.policy.host, items=False)
    lost = sum(point.lost for point in points)
    seen, where = box.catalog.seen(name), repository.describe()
    return RepositoryStatus(name, where, seen, check, tuple(notes), harm, stands, lost)
