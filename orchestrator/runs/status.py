"""Collect how everything stands, from the catalog alone: no repository is asked."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.planning.status import RepositoryStatus, Status, services
from orchestrator.runs import retention, verify
from orchestrator.runs.toolbox import Toolbox


def status(box: Toolbox) -> Status:
    """Collect the status."""
    limit = timedelta(seconds=box.config.policy.health.max_age)
    runs = box.catalog.runs(command="backup", limit=1)
    troubles = [event for event in box.catalog.events(limit=20) if event.severity in ("failed", "warning", "partial")]
    return Status(
        host=box.config.policy.host,
        services=services(
            box.catalog.points(), ((source.service, source.tier) for source in box.sources), box.clock(), limit
        ),
        repositories=tuple(_repository(box, name) for name in box.repositories),
        last_run=runs[0] if runs else None,
        waiting=len(box.catalog.outbox()),
        events=tuple(troubles[:5]),
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
    return RepositoryStatus(name, repository.describe(), box.catalog.seen(name), check, tuple(notes), harm)
