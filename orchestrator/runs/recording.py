"""How runs begin and end: IDs, the manifest of what was taken, the record, its events and notifications."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from orchestrator.model.errors import (
    EXIT_DONE,
    EXIT_PARTIAL,
    Bug,
    Busy,
    GuardRefused,
    Interrupted,
    ResguardoError,
    worst,
)
from orchestrator.model.failpoints import reach
from orchestrator.model.manifest import Manifest, ManifestItem, ManifestSource
from orchestrator.model.names import new_run_id
from orchestrator.model.record import Event, Result, RunRecord, ServiceRecord, Severity
from orchestrator.runs import notify
from orchestrator.runs.toolbox import Toolbox

_RUN_EVENTS: dict[str, tuple[str, Severity]] = {
    "success": ("run.succeeded", "success"),
    "partial": ("run.partial", "partial"),
    "failed": ("run.failed", "failed"),
    "refused": ("run.failed", "failed"),
    "interrupted": ("run.interrupted", "failed"),
}


def new_run(box: Toolbox, command: str) -> tuple[str, datetime]:
    """Begin a run: its ID and start, noted in the catalog, so that a killed one is known as dead."""
    started = box.clock()
    run = new_run_id(started, box.token())
    box.catalog.begin(run, command, started)
    box.begun[run] = (command, started)
    return run, started


def manifest_of(box: Toolbox, record: ServiceRecord, run: str) -> Manifest:
    """Return the manifest of a service's record; the one that was committed and the one that the catalog mirrors."""
    config = box.config
    now = record.ended or box.clock()
    whole = all(source.state == "taken" for source in record.sources)
    sources = tuple(
        ManifestSource(
            source.name,
            source.engine,
            "failed" if source.state == "skipped" else source.state,
            tuple(ManifestItem(**vars(item)) for item in source.items),
            source.error,
            {"version": source.server} if source.server else {},
        )
        for source in record.sources
    )
    return Manifest(
        host=config.policy.host,
        machine=box.here.machine,
        service=record.service,
        tier=record.tier,
        run=run,
        time=record.time or now,
        ended=now,
        result="whole" if whole else "partial",
        sources=sources,
        policy_sha256=config.sha256,
        files=dict(config.texts),
        tools={**box.tools, "restic": next(iter(box.repositories.values())).version()},
    )


def record_of(
    box: Toolbox,
    command: str,
    run: str,
    started: datetime,
    codes: Iterable[int],
    cause: ResguardoError | None,
    **more: Any,
) -> RunRecord:
    """Return the record of a run from the exit codes of its parts and the cause that ended it, if one did.

    more: other fields of RunRecord; `error` among them is used where nothing was raised.
    """
    code = worst([*codes, cause.exit_code] if cause else codes)
    if cause:
        more |= {"error": cause.message, "hint": cause.hint}
    return RunRecord(
        id=run,
        command=command,
        host=box.config.policy.host,
        started=started,
        ended=box.clock(),
        result=_result(code, cause),
        exit_code=code,
        **more,
    )


def _result(code: int, error: ResguardoError | None) -> Result:
    if isinstance(error, Interrupted):
        return "interrupted"
    if isinstance(error, GuardRefused):
        return "refused"
    return "success" if code == EXIT_DONE else "partial" if code == EXIT_PARTIAL else "failed"


def crashed(box: Toolbox, command: str, error: Exception) -> None:
    """Record what an unexpected error ended, so that it is neither silent nor taken for alive."""
    what = Bug(f"unexpected {type(error).__name__}", "see the traceback's file")
    if not box.begun:
        refused(box, command, what)
    for run, (begun, started) in list(box.begun.items()):
        finish_run(box, record_of(box, begun, run, started, [], what))


def finish_run(box: Toolbox, record: RunRecord) -> RunRecord:
    """Record how a run ended, with its one run.* event, and queue the notifications; return the completed record."""
    name, severity = _RUN_EVENTS[record.result]
    message = record.error or f"{record.command} {record.result}"
    closing = Event(record.ended, name, severity, message, run=record.id, hint=record.hint)
    before = box.catalog.runs(command=record.command, limit=1)
    recovered = record.result == "success" and bool(before) and before[0].result in ("failed", "partial", "interrupted")
    events = [*record.events, closing]
    if recovered:
        events.append(
            Event(record.ended, "alert.recovered", "recovered", f"{record.command} works again", run=record.id)
        )
    done = replace(record, events=tuple(events))
    box.catalog.record(done)
    box.begun.pop(done.id, None)
    for event in events:
        box.log(event)
    notify.announce(box, done)
    reach("notify.queued")
    return done


def noted(box: Toolbox, command: str) -> None:
    """Record that a command which is no run of its own has done its work."""
    box.event(Event(box.clock(), "run.succeeded", "info", f"{command} done"))


def refused(box: Toolbox, command: str, error: ResguardoError) -> None:
    """Record and tell of a command that ended before it became a run: the lock is busy, there is no such service."""
    name = "run.busy" if isinstance(error, Busy) else "run.refused"
    event = Event(box.clock(), name, "failed", f"{command}: {error.message}", hint=error.hint)
    box.event(event)
    notify.announce_events(box, [event])
