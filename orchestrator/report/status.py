"""How everything stands, as text."""

from __future__ import annotations

from datetime import datetime

from orchestrator.planning.status import ACT, RepositoryStatus, ServiceStatus, Status
from orchestrator.report.table import table
from orchestrator.report.units import age, count, safe, when


def status_text(status: Status, now: datetime) -> str:
    """Return the page of `resguardo status`: services, repositories, the last run, what waits."""
    rows = [_service(service, now) for service in status.services]
    parts = [sentence(status)]
    if rows:
        parts.append(table(("SERVICE", "TIER", "STANDS", "NEWEST", "AGE", "PROVEN", "POINTS", "WHY"), rows, right=(6,)))
    parts.append("\n".join(_repository(repository, now) for repository in status.repositories))
    if status.last_run:
        run = status.last_run
        parts.append(f"last backup: {run.result}, {age(run.ended, now)} ago ({run.id})")
    if status.waiting:
        parts.append(f"{count(status.waiting, 'notification')} not delivered yet")
    if status.events:
        parts.append("\n".join(f"{when(event.time)}  {event.name}: {safe(event.message)}" for event in status.events))
    return "\n\n".join(parts)


def sentence(status: Status) -> str:
    """Return how everything stands in one sentence."""
    living = [service for service in status.services if service.level != "retired"]
    act = [service for service in living if service.level in ACT]
    if status.exit_code:
        return f"{len(act)} of {count(len(living), 'service')} need action" if act else "a repository needs action"
    if not all(service.level == "proven" for service in living):
        return "everything is backed up; not everything is proven"
    return "everything is backed up and proven"


def _service(service: ServiceStatus, now: datetime) -> tuple[str, ...]:
    newest = service.newest
    return (
        service.service,
        service.tier,
        service.level,
        when(newest.time) if newest else "-",
        age(newest.time, now) if newest else "-",
        age(service.proven.time, now) if service.proven else "never",
        str(service.points),
        service.message,
    )


def _repository(repository: RepositoryStatus, now: datetime) -> str:
    seen = f"last listed {age(repository.seen, now)} ago" if repository.seen else "never listed"
    check = repository.check
    checked = f"last checked {age(check.time, now)} ago" if check else "never checked"
    head = f"repository {repository.name} ({safe(repository.url)}): {seen}, {checked}"
    return "\n".join([head, *(f"  {safe(note)}" for note in repository.notes)])
