"""How everything stands, as text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestrator.model.record import Event
from orchestrator.planning.select import REBUILD
from orchestrator.planning.status import ACT, RepositoryStatus, ServiceStatus, Status
from orchestrator.report.run_text import result_word
from orchestrator.report.table import table
from orchestrator.report.units import age, count, flat, safe, when

_NAMED = 3  # services in the headline; the table has all


def status_text(status: Status, now: datetime) -> str:
    """Return the page of `resguardo status`: services, repositories, the last run, what waits."""
    rows = [_service(service, now) for service in status.services]
    parts = [sentence(status)]
    if rows:
        parts.append(table(("SERVICE", "TIER", "STANDS", "NEWEST", "AGE", "PROVEN", "POINTS", "WHY"), rows, right=(6,)))
    parts.append("\n".join(_repository(repository, now) for repository in status.repositories))
    parts += [f"{flat(event.message)}" + (f"\nHINT: {flat(event.hint)}" if event.hint else "") for event in status.left]
    if status.last_run:
        run = status.last_run
        words = result_word(run.result) if run.result == "attention" else run.result
        parts.append(f"last backup: {words}, {age(run.ended, now)} ago ({run.id})")
    if status.waiting:
        parts.append(f"{count(status.waiting, 'notification')} not delivered yet")
    if status.events:
        parts.append("\n".join(["the newest troubles, also those that are over", *map(_event, status.events)]))
    parts += [
        text for text in (_unnamed(status), _elsewhere(status), "" if status.points else f"HINT: {REBUILD}") if text
    ]
    return "\n\n".join(parts)


def sentence(status: Status) -> str:
    """Return how everything stands in one sentence."""
    living = [service for service in status.services if service.level != "retired"]
    act = [service for service in living if service.level in ACT]
    troubles = [_act(act, len(living))] if act else []
    for repository in status.repositories:
        troubles += [f"repository {repository.name} is damaged"] if repository.damage else []
        if repository.lost:
            troubles.append(f"{count(repository.lost, 'restore point')} gone from repository {repository.name}")
        if repository.retention:
            troubles.append(f"retention in repository {repository.name} is {repository.retention.word}")
    if status.left:
        troubles.append("a killed restore left something that you have to look at")
    if troubles:
        return safe("; ".join(troubles))
    if not living:
        return "services.yml names nothing to back up"
    warned = ", with warnings (see WHY)" if any(service.warned for service in living) else ""
    if not all(service.level == "proven" for service in living):
        return f"everything is backed up{warned}; not everything is proven"
    return f"everything is backed up and proven{warned}"


def _act(act: Sequence[ServiceStatus], living: int) -> str:
    named = [f"{service.service} ({service.level})" for service in act[:_NAMED]]
    more = [f"{len(act) - _NAMED} more"] if len(act) > _NAMED else []
    verb = "needs" if len(act) == 1 else "need"
    return f"{len(act)} of {count(living, 'service')} {verb} action: {', '.join([*named, *more])}"


def _event(event: Event) -> str:
    place = "/".join(part for part in (event.service, event.source) if part) or event.repository
    return f"{when(event.time)}  {event.name}{f' ({safe(place)})' if place else ''}: {flat(event.message)}"


def _unnamed(status: Status) -> str:
    if not status.unnamed:
        return ""
    each = ", ".join(f"{number} in {safe(name)}" for name, number in sorted(status.unnamed.items()))
    return (
        f"restore points of repositories that policy.yml does not name count for nothing here: {each}\n"
        "HINT: if a repository has another name now, run `resguardo catalog rebuild`"
    )


def _elsewhere(status: Status) -> str:
    if not status.elsewhere:
        return ""
    each = ", ".join(f"{number} of {safe(host)}" for host, number in sorted(status.elsewhere.items()))
    return f"restore points of other hosts count for nothing here: {each}; this policy's host is {safe(status.host)}"


def rebuilt_text(host: str, known: int, added: int) -> str:
    """Return what `catalog rebuild` brought."""
    if not known:
        return (
            f"no restore points of host {safe(host)} found\nHINT: points are kept by the policy's `host`; if it was"
            " another one when they were made, set that and rebuild again"
        )
    new = {0: "none of them new", known: "all of them new"}.get(added, f"{added} of them new")
    if known == 1:
        new = "new" if added else "not new"
    return f"the catalog knows {count(known, 'restore point')} of host {safe(host)}, {new}"


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
        flat(service.message),
    )


def _repository(repository: RepositoryStatus, now: datetime) -> str:
    seen = f"last listed {age(repository.seen, now)} ago" if repository.seen else "never listed"
    check = repository.check
    checked = f"last checked {age(check.time, now)} ago" if check else "never checked"
    head = f"repository {repository.name} ({safe(repository.url)}): {seen}, {checked}"
    return "\n".join(
        [head, *(f"  {flat(note)}" for note in (*repository.notes, *_lost(repository), *_retention(repository)))]
    )


def _lost(repository: RepositoryStatus) -> list[str]:
    if not repository.lost:
        return []
    return [
        f"{count(repository.lost, 'restore point')} gone: the repository lists them no longer",
        'HINT: is its disk mounted? see docs/disaster-recovery.md, "Restore points are gone"',
    ]


def _retention(repository: RepositoryStatus) -> list[str]:
    found = repository.retention
    if not found:
        return []
    hint = [f"HINT: {found.hint}"] if found.hint else []
    return [f"retention is {found.word} since {when(found.since)}: {found.message}", *hint]
