"""What a run did, as text: the summary at its end, also the body of notifications."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from orchestrator.model.record import RepositoryRecord, Result, RunRecord, ServiceRecord, SourceRecord
from orchestrator.report.table import fields, table
from orchestrator.report.units import count, duration, lines, safe, size, took, when

_MOST_PLACES = 8  # that a cause names; the rest is counted
_MOST_FORGOTTEN = 10  # lines; the rest is counted
_FLAWS = {"failed": "failed", "partial": "partial", "skipped": "not asked for"}  # a source's state → in the headline


def run_text(record: RunRecord) -> str:
    """Return the summary of a run: the figures, a table of sources, what failed and what to do, what was forgotten."""
    parts = [_head(record), sources_table(record.services), _failures(record), _forgotten(record)]
    return "\n\n".join(part for part in parts if part)


def headline(record: RunRecord) -> str:
    """Return one line: what ran, where, how it ended."""
    sources = [source for service in record.services for source in service.sources]
    counted = Counter(source.state for source in sources if source.state != "taken")
    flaws = [f"{counted[state]} {_FLAWS.get(state, state)}" for state in sorted(counted)]
    pause = "," if record.result == "attention" else ""
    text = f"{record.command} {result_word(record.result)}{pause} on {record.host}"
    return safe(f"{text}: {', '.join(flaws)} of {count(len(sources), 'source')}" if flaws else text)


def result_word(result: Result) -> str:
    """Return how a run ended, to stand after its command."""
    return {
        "success": "succeeded",
        "attention": "stored everything, but needs attention",
        "partial": "finished in part",
    }.get(result, result)


def _head(record: RunRecord) -> str:
    stored = sum(service.bytes for service in record.services)
    points = sum(bool(service.point) for service in record.services)
    snapshots = {snapshot for service in record.services for snapshot in (service.commit, *service.snapshots.values())}
    pairs = [
        ("result", f"{headline(record)} (exit {record.exit_code})"),
        ("run", record.id),
        ("start", when(record.started)),
        ("end", when(record.ended)),
        ("took", took(record.started, record.ended)),
    ]
    if record.services:
        pairs += [
            ("size", size(stored)),
            ("points", f"{count(points, 'restore point')} in {count(len(snapshots - {''}), 'snapshot')}"),
        ]
    for repository in record.repositories:
        text = [f"{size(repository.added)} added", repository.retention, repository.check]
        pairs.append((f"to {repository.name}", ", ".join(part for part in text if part)))
    if record.command in ("backup", "prune"):
        orphans = sum(gone.orphan for gone in record.forgotten)
        text = [count(len(record.forgotten) - orphans, "restore point"), count(orphans, "orphan") if orphans else ""]
        pairs.append(("forgotten", " and ".join(part for part in text if part)))
    return fields(pairs)


def sources_table(services: Sequence[ServiceRecord]) -> str:
    """Return the table of sources, or "" when there are none."""
    rows = [_row(service, source) for service in services for source in service.sources]
    return table(("SOURCE", "ENGINE", "STATE", "SIZE", "TOOK"), rows, right=(3, 4)) if rows else ""


def _row(service: ServiceRecord, source: SourceRecord) -> tuple[str, ...]:
    stored = sum(item.bytes for item in source.items)
    return (f"{service.service}/{source.name}", source.engine, source.state, size(stored), duration(source.seconds))


def _failures(record: RunRecord) -> str:
    entries: list[tuple[str, str, str | None]] = []
    # The run's error is often that of its first service, which stands below.
    own = {f"{service.service}: {service.error}" for service in record.services}
    everywhere = _one_cause(record.services)
    if everywhere:
        entries.append(("nothing was backed up", *everywhere))
    if record.error and record.error not in own:
        entries.append((record.command, record.error, record.hint))
    entries += [entry for found in record.repositories for entry in _troubles(record, found)]
    for service in record.services:
        if service.error and not everywhere:
            entries.append((service.service, service.error, service.hint))
        for source in service.sources:
            where = f"{service.service}/{source.name}"
            if source.state != "taken" and not (source.error and source.error == service.error):
                entries.append((f"{where} {source.state}", source.error or "no reason was given", source.hint))
            entries += [(where, found.message, found.hint) for found in source.findings if found.level != "info"]
    return "\n".join(causes_text(entries))


def _one_cause(services: Sequence[ServiceRecord]) -> tuple[str, str | None] | None:
    """Return the error and the hint of what struck every source of every service, where that is one and the same."""
    causes = {(service.error, service.hint) for service in services}
    causes |= {(source.error, source.hint) for service in services for source in service.sources}
    found = causes.pop() if len(causes) == 1 else None
    return found if found and found[0] else None


def causes_text(entries: Sequence[tuple[str, str, str | None]]) -> list[str]:
    """Say each cause once, with all places that it struck, and a hint once below all causes that it is for.

    entries: where, message, hint.
    """
    hints: dict[str | None, dict[str, dict[str, None]]] = {}
    for where, message, hint in entries:
        hints.setdefault(hint, {}).setdefault(message, {})[where] = None
    return [_entry(causes, hint) for hint, causes in hints.items()]


def _troubles(record: RunRecord, repository: RepositoryRecord) -> list[tuple[str, str, str | None]]:
    """Return what went wrong in a repository: its events say it with a hint; else its error alone."""
    told = [
        event for event in record.events if event.repository == repository.name and event.message in repository.error
    ]
    found: list[tuple[str, str, str | None]] = [
        (event.name.partition(".")[0], event.message, event.hint) for event in told
    ]
    return found or ([(f"repository {repository.name}", repository.error, None)] if repository.error else [])


def _entry(causes: Mapping[str, Collection[str]], hint: str | None) -> str:
    text = "\n".join(f"{_places(list(places))}: {lines(message)}" for message, places in causes.items())
    return f"{text}\n  HINT: {lines(hint)}" if hint else text


def _places(places: Sequence[str]) -> str:
    more = [f"{len(places) - _MOST_PLACES} more"] if len(places) > _MOST_PLACES else []
    return safe(", ".join([*places[:_MOST_PLACES], *more]))


def _forgotten(record: RunRecord) -> str:
    shown = [
        f"forgot {'orphan ' if gone.orphan else ''}{safe(gone.point)} ({safe(gone.reason)})"
        for gone in record.forgotten[:_MOST_FORGOTTEN]
    ]
    rest = len(record.forgotten) - len(shown)
    return "\n".join([*shown, f"and {rest} more"] if rest else shown)
