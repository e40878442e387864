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
from orchestrator.planning.recovery import recovery
from orchestrator.report.notification import to_be_told
from orchestrator.runs import notify, proofs, rules
from orchestrator.runs.toolbox import Toolbox

_EARLIER = 50  # runs looked through for the last one of the same service
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
        rules=rules.to_tell(box),
        earned=proofs.to_tell(box, record.service, record.tier),
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


def finish_run(box: Toolbox, record: RunRecord, *, about: str = "") -> RunRecord:
    """Record how a run ended, with its one run.* event, and queue the notifications; return the completed record.

    about: the service of a run whose record names none.
    """
    name, severity = _RUN_EVENTS[record.result]
    message = record.error or f"{record.command} {record.result}"
    closing = Event(record.ended, name, severity, message, run=record.id, service=about, hint=record.hint)
    done = replace(record, events=(*record.events, closing))
    events = [*done.events, *_recovered(box, done)]
    done = replace(done, events=tuple(events))
    box.catalog.record(done)
    box.begun.pop(done.id, None)
    for event in events:
        box.log(event)
    notify.announce(box, done)
    reach("notify.queued")
    return done


def _recovered(box: Toolbox, done: RunRecord) -> list[Event]:
    """Tell that something works again; never while damage is known, which a good run does not disprove."""
    if any(box.catalog.get(f"damage.{name}") for name in box.repositories):
        return []
    found = recovery(done, box.catalog.runs(command=done.command, limit=_EARLIER))
    if found is None:
        return []
    of = f" of {', '.join(found.services)}" if found.services else ""
    message = f"{done.command}{of} works again, after a failure at {found.failed:%Y-%m-%d %H:%M} UTC"
    service = found.services[0] if len(found.services) == 1 else ""
    return [Event(done.ended, "alert.recovered", "recovered", message, run=done.id, service=service)]


def noted(box: Toolbox, command: str) -> None:
    """Record that a command which is no run of its own has done its work."""
    box.event(Event(box.clock(), "run.succeeded", "info", f"{command} done"))


def refused(box: Toolbox, command: str, error: ResguardoError, *, attended: bool = False) -> None:
    """Record and tell of a command that ended before it became a run: the lock is busy, there is no such service.

    attended: somebody reads the error on a terminal.
    """
    name = "run.busy" if isinstance(error, Busy) else "run.refused"
    event = Event(box.clock(), name, "failed", f"{command}: {error.message}", hint=error.hint)
    box.event(event)
    if to_be_told(event, attended=attended):
        notify.announce_events(box, [event])
