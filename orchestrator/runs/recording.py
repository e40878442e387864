"""How runs begin and end: IDs, the manifest of what was taken, the record, its events and notifications."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypedDict, Unpack

from orchestrator.model.errors import (
    EXIT_DONE,
    EXIT_FAILED,
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
from orchestrator.model.record import (
    Event,
    Forgotten,
    RepositoryRecord,
    Result,
    RunRecord,
    ServiceRecord,
    Severity,
)
from orchestrator.planning.recovery import recovery
from orchestrator.report.notification import to_be_told
from orchestrator.report.run_text import result_word
from orchestrator.runs import notify, proofs, rules
from orchestrator.runs.toolbox import Toolbox

_EARLIER = 50  # runs looked through for the last one of the same service
_RUN_EVENTS: dict[str, tuple[str, Severity]] = {
    "success": ("run.succeeded", "success"),
    "attention": ("run.attention", "failed"),
    "partial": ("run.partial", "partial"),
    "failed": ("run.failed", "failed"),
    "refused": ("run.failed", "failed"),
    "interrupted": ("run.interrupted", "failed"),
}


class More(TypedDict, total=False):
    """Fields of a RunRecord that its command fills."""

    services: tuple[ServiceRecord, ...]
    repositories: tuple[RepositoryRecord, ...]
    forgotten: tuple[Forgotten, ...]
    events: tuple[Event, ...]
    error: str
    hint: str | None
    restic_processes: int


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
            {key: text for key, text in (("version", source.server), ("image", source.image)) if text},
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
    **more: Unpack[More],
) -> RunRecord:
    """Return the record of a run from the exit codes of its parts and the cause that ended it, if one did.

    more: other fields of RunRecord; `error` among them is used where nothing was raised.
    """
    code = worst([*codes, cause.exit_code] if cause else codes)
    if cause:
        more["error"], more["hint"] = cause.message, cause.hint
    return RunRecord(
        id=run,
        command=command,
        host=box.config.policy.host,
        started=started,
        ended=box.clock(),
        result=result_of(code, cause),
        exit_code=code,
        **more,
    )


def result_of(code: int, error: ResguardoError | None, services: Sequence[ServiceRecord] = ()) -> Result:
    """Return a run's result from its exit code, what ended it and the restore points that it made all the same.

    `attention`: every point is whole, so nobody shall read that something was not stored; the trouble lies elsewhere.
    """
    if isinstance(error, Interrupted):
        return "interrupted"
    if isinstance(error, GuardRefused):
        return "refused"
    if code == EXIT_DONE:
        return "success"
    if services and all(_whole(service) for service in services):
        return "attention"
    return "partial" if any(service.point for service in services) or code == EXIT_PARTIAL else "failed"


def _whole(service: ServiceRecord) -> bool:
    return bool(service.point) and all(source.state == "taken" for source in service.sources)


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
    record = replace(record, events=(*record.events, *box.met.pop(record.id, [])))
    record = _with_what_is_left(record, box.left.pop(record.id, []))
    name, severity = _RUN_EVENTS[record.result]
    closing = Event(
        record.ended, name, severity, _closing_words(record), run=record.id, service=about, hint=record.hint
    )
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


def _closing_words(record: RunRecord) -> str:
    if record.result != "attention":
        return record.error or f"{record.command} {record.result}"
    why = record.error or "; ".join(repository.error for repository in record.repositories if repository.error)
    return f"{record.command} {result_word(record.result)}{why and ': '}{why}"


def _with_what_is_left(record: RunRecord, left: Sequence[Event]) -> RunRecord:
    """Return the record of a run that could not undo everything: plaintext or a process that stays is no success."""
    if not left:
        return record
    code = worst([record.exit_code, EXIT_FAILED])
    result = record.result
    if result == "success":
        result = result_of(code, None, record.services)
    return replace(
        record,
        exit_code=code,
        result=result,
        events=(*record.events, *left),
        error=record.error or f"could not be undone: {left[0].message}",
        hint=record.hint or left[0].hint,
    )


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
