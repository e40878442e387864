"""The backup run: probe, plan, execute side by side, retention and check when due, record."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.model.engine import Source
from orchestrator.model.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PARTIAL,
    DiskFull,
    ForeignMachine,
    Interrupted,
    ResguardoError,
    UsageError,
    worst,
)
from orchestrator.model.execution import Finding, Undo
from orchestrator.model.failpoints import reach
from orchestrator.model.record import Event, RepositoryRecord, RunRecord, ServiceRecord
from orchestrator.model.repository import Repository
from orchestrator.planning.backup import BackupPlan, Limits, plan_points
from orchestrator.runs import rebuild, retention, verify
from orchestrator.runs.point import PointMaker
from orchestrator.runs.probe import probe_all
from orchestrator.runs.recording import finish_run, manifest_of, new_run
from orchestrator.runs.toolbox import Toolbox

RESERVE = 64 * 1024 * 1024  # bytes that must be free where a local repository lies, so that restic can end cleanly


@dataclass(frozen=True)
class BackupRequest:
    """What to back up. services: empty for all · only: "databases", "files" or "" · verify: whether a due check runs ·
    wait: seconds to wait for the run lock · new_machine: take over this host name from another machine.
    """

    services: Sequence[str] = ()
    only: str = ""
    verify: bool = True
    wait: float = 0.0
    new_machine: bool = False


def plan(box: Toolbox, request: BackupRequest, undo: Undo) -> BackupPlan:
    """Probe and plan; nothing is changed."""
    repository = first_repository(box)
    probed = probe_all(box, wanted_sources(box, request), undo)
    cap, findings = _staging_cap(box)
    policy = box.config.policy
    parents = {
        (source.service, source.tier): parent
        for source in box.sources
        if (parent := box.catalog.paths_snapshot(source.service, source.tier, repository.name))
    }
    services = len({source.service for source in box.sources})
    limits = Limits(cap // max(1, min(policy.parallel, services)), policy.staging.source)
    return BackupPlan(
        host=policy.host,
        repository=repository.name,
        points=plan_points(probed, limits, parents),
        parallel=policy.parallel,
        forget=retention.due(box, repository),
        check=verify.due(box, repository) if request.verify else "",
        findings=(*findings, *_room(box, repository)),
    )


def backup(box: Toolbox, request: BackupRequest) -> RunRecord:
    """Run one backup and record it; the record holds all failures that belong to a source or a repository.

    Raises RunLocked, ForeignMachine, DiskFull, UsageError before anything was done.
    """
    wanted_sources(box, request)
    with box.lock(request.wait):
        reach("lock.taken")
        run, started = new_run(box, "backup")
        reach("run.begun")
        with box.undo(run) as undo:
            try:
                record = _run(box, request, run, started, undo)
            except ResguardoError as error:
                record = _failed(box, run, started, error)
        return finish_run(box, record)


def _run(box: Toolbox, request: BackupRequest, run: str, started: datetime, undo: Undo) -> RunRecord:
    repository = first_repository(box)
    _same_machine(box, repository, request, undo)
    _enough_room(box, repository)
    planned = plan(box, request, undo)
    reach("probe.done")
    services = _execute(box, repository, planned, run, undo)
    reach("catalog.recorded")
    good = [service for service in services if service.point]
    kept = retention.when_due(box, repository, planned.forget, run, undo) if good else retention.nothing("no new point")
    checked = verify.when_due(box, repository, planned.check, undo) if good else verify.nothing()
    code = _exit_code(services, kept.exit_code, checked.exit_code)
    record = RepositoryRecord(
        repository.name,
        repository.describe(),
        added=sum(service.added for service in services),
        retention=kept.text,
        check=checked.text,
        error="; ".join(text for text in (kept.error, checked.error) if text),
    )
    return RunRecord(
        id=run,
        command="backup",
        host=box.config.policy.host,
        started=started,
        ended=box.clock(),
        result="success" if code == EXIT_DONE else "partial" if code == EXIT_PARTIAL else "failed",
        exit_code=code,
        restic_processes=repository.processes,
        services=tuple(services),
        repositories=(record,),
        forgotten=kept.forgotten,
        events=(*_plan_events(box, planned, run), *_source_events(box, services, run), *kept.events, *checked.events),
    )


def _execute(box: Toolbox, repository: Repository, planned: BackupPlan, run: str, undo: Undo) -> list[ServiceRecord]:
    cap = _staging_cap(box)[0]

    def make(point: int) -> ServiceRecord:
        maker = PointMaker(box, repository, planned.points[point], run, undo, lanes, planned.parallel, cap)
        record = maker.make()
        if record.commit:
            box.catalog.add_point(manifest_of(box, record, run), repository.name, record.snapshots, record.commit)
        for source in record.sources:
            box.progress.finish(f"{record.service}/{source.name}", source.state)
        return record

    with (
        ThreadPoolExecutor(planned.parallel, thread_name_prefix="lane") as lanes,
        ThreadPoolExecutor(planned.parallel, thread_name_prefix="point") as points,
    ):
        return list(points.map(make, range(len(planned.points))))


def first_repository(box: Toolbox) -> Repository:
    """Return the repository that dumps are written to first."""
    return next(iter(box.repositories.values()))


def wanted_sources(box: Toolbox, request: BackupRequest) -> list[Source]:
    """Return the sources that the request names. Raises UsageError for unknown services and empty choices."""
    known = {source.service for source in box.sources}
    unknown = [service for service in request.services if service not in known]
    if unknown:
        raise UsageError(f"no such service: {unknown[0]!r}", f"services.yml has {', '.join(sorted(known)) or 'none'}")
    files = {"databases": False, "files": True}.get(request.only)
    chosen = [
        source
        for source in box.sources
        if (not request.services or source.service in request.services)
        and (files is None or (box.engines[source.engine].delivers == "paths") == files)
    ]
    if not chosen:
        raise UsageError("there is nothing to back up", "name databases or paths in services.yml")
    return chosen


def _staging_cap(box: Toolbox) -> tuple[int, tuple[Finding, ...]]:
    wanted = box.config.policy.staging.max
    cap = min(wanted, box.here.memory() // 4, max(0, box.here.stage_free() - RESERVE))
    if cap >= box.config.policy.staging.source:
        return cap, ()
    return cap, (Finding("info", f"staging may take only {cap} bytes here, so more dumps are streamed"),)


def _room(box: Toolbox, repository: Repository) -> tuple[Finding, ...]:
    path = repository.local_path()
    least = box.config.policy.health.min_free
    if path is None or (free := box.here.free(path)) >= least:
        return ()
    return (
        Finding(
            "warning",
            f"repository {repository.name}: {free} bytes free, under the {least} of health.min_free",
            "make room",
        ),
    )


def _enough_room(box: Toolbox, repository: Repository) -> None:
    path = repository.local_path()
    if path is not None and box.here.free(path) < RESERVE:
        raise DiskFull(
            f"repository {repository.name}: less than {RESERVE} bytes free at {path}",
            "make room, or run resguardo prune",
        )


def _same_machine(box: Toolbox, repository: Repository, request: BackupRequest, undo: Undo) -> None:
    """Refuse to write under a host name that another machine uses: its retention and ours would mix."""
    if box.catalog.seen(repository.name) is None:
        rebuild.meet(box, repository, undo)
    newest = box.catalog.newest_manifest(repository.name)
    if newest is None or newest.machine == box.here.machine or request.new_machine:
        return
    raise ForeignMachine(
        f"repository {repository.name}: the newest restore point of host {newest.host!r} ({newest.point}) comes from "
        f"another machine ({newest.machine})",
        "give this machine its own `host` in policy.yml, or take the name over once with backup --new-machine",
    )


def _exit_code(services: Sequence[ServiceRecord], *others: int) -> int:
    sources = [source for service in services for source in service.sources]
    uncommitted = [service for service in services if not service.point]
    if services and len(uncommitted) == len(services):
        codes = [source.exit_code for source in sources if source.exit_code]
        return worst([*codes, EXIT_FAILED]) if codes else EXIT_FAILED
    flawed = uncommitted or any(source.state != "taken" for source in sources)
    return worst([EXIT_PARTIAL if flawed else EXIT_DONE, *(EXIT_PARTIAL if code else EXIT_DONE for code in others)])


def _failed(box: Toolbox, run: str, started: datetime, error: ResguardoError) -> RunRecord:
    return RunRecord(
        id=run,
        command="backup",
        host=box.config.policy.host,
        started=started,
        ended=box.clock(),
        result="interrupted" if isinstance(error, Interrupted) else "failed",
        exit_code=error.exit_code,
        error=error.message,
        hint=error.hint,
    )


def _plan_events(box: Toolbox, planned: BackupPlan, run: str) -> list[Event]:
    return [
        Event(box.clock(), "disk.low", "warning", finding.message, run=run, hint=finding.hint)
        for finding in planned.findings
        if finding.level == "warning"
    ]


def _source_events(box: Toolbox, services: Sequence[ServiceRecord], run: str) -> list[Event]:
    events = []
    for service in services:
        for source in service.sources:
            event = Event(
                box.clock(),
                "source.failed",
                "failed",
                source.error,
                run,
                service.service,
                source.name,
                hint=source.hint,
            )
            if source.state == "failed":
                events.append(event)
            elif source.state == "partial":
                events.append(replace(event, name="source.partial", severity="partial"))
            events += [
                replace(event, name="source.warning", severity="warning", message=finding.message, hint=finding.hint)
                for finding in source.findings
                if finding.level == "warning"
            ]
    return events
