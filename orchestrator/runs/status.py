"""Collect how everything stands, from the catalog alone: no repository is asked."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from orchestrator.planning.status import RepositoryStatus, Status, retention_trouble, services
from orchestrator.runs import retention, verify
from orchestrator.runs.toolbox import Toolbox

_RUNS = 100  # backups looked through for the last one of each service
_TROUBLES = 500  # events looked through for the first time that retention did not succeed


def status(box: Toolbox) -> Status:
    """Collect the status."""
    host = box.config.policy.host
    limit = timedelta(seconds=box.config.policy.health.max_age)
    runs = box.catalog.runs(command="backup", limit=_RUNS)
    points = box.catalog.points(items=False)
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
        elsewhere=Counter(point.host for point in points if point.host != host),
    )


def _repository(box: Toolbox, name: str) -> RepositoryStatus:
    repository = box.repositories[name]
    notes = []
    if overdue := retention.prune_due(box, repository):
        notes.append(f"resguardo prune is due: {overdue}")
    check = box.catalog.last_check(name)
    harm = verify.damage(box, repository)
    if harm:
        notes.append(f"damaged: {harm}")
    events = box.catalog.events(limit=_TROUBLES, name="retention.*")
    stands = retention_trouble(
        (event for event in events if event.repository == name), retention.last_done(box, repository)
    )
    return RepositoryStatus(name, repository.describe(), box.catalog.seen(name), check, tuple(notes), harm, stands)
