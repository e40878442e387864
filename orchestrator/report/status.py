"""How everything stands, as text."""

from __future__ import annotations

from datetime import datetime

from orchestrator.planning.status import RepositoryStatus, ServiceStatus, Status
from orchestrator.report.table import table
from orchestrator.report.units import age, count, safe, when


def status_text(status: Status, now: datetime) -> str:
    """Return the page of `resguardo status`: services, repositories, the last run, what waits."""
    rows = [_service(service, now) for service in status.services]
    parts = [table(("SERVICE", "TIER", "STANDS", "NEWEST", "AGE", "POINTS", "WHY"), rows, right=(5,))] if rows else []
    parts.append("\n".join(_repository(repository, now) for repository in status.repositories))
    if status.last_run:
        run = status.last_run
        parts.append(f"last backup: {run.result}, {age(run.ended, now)} ago ({run.id})")
    if status.waiting:
        parts.append(f"{count(status.waiting, 'notification')} not delivered yet")
    if status.events:
        parts.append("\n".join(f"{when(event.time)}  {event.name}: {safe(event.message)}" for event in status.events))
    return "\n\n".join(parts)


def _service(service: ServiceStatus, now: datetime) -> tuple[str, ...]:
    newest = service.newest
    return (
        service.service,
        service.tier,
        service.level,
        when(newest.time) if newest else "-",
        age(newest.time, now) if newest else "-",
        str(service.points),
        service.message,
    )


def _repository(repository: RepositoryStatus, now: datetime) -> str:
    seen = f"last listed {age(repository.seen, now)} ago" if repository.seen else "never listed"
    check = repository.check
    checked = f"last checked {age(check.time, now)} ago" if check else "never checked"
    head = f"repository {repository.name} ({safe(repository.url)}): {seen}, {checked}"
    return "\n".join([head, *(f"  {safe(note)}" for note in repository.notes)])
