"""The backup run: probe, plan, execute side by side, retention and check when due, record."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestrator.model.engine import Source
from orchestrator.model.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PARTIAL,
    DiskFull,
    ForeignMachine,
    ResguardoError,
    UsageError,
    worst,
)
from orchestrator.model.execution import Finding, Undo
from orchestrator.model.failpoints import reach
from orchestrator.model.record import Event, RepositoryRecord, RunRecord, ServiceRecord
from orchestrator.model.repository import Repository
from orchestrator.planning.backup import BackupPlan, Limits, PlannedPoint, Probed, plan_points, skipped
from orchestrator.runs import identity, rebuild, retention, verify
from orchestrator.runs.outside import explained
from orchestrator.runs.point import PointMaker
from orchestrator.runs.probe import probe_all
from orchestrator.runs.recording import finish_run, new_run, result_of
from orchestrator.runs.retention import RetentionEnd
from orchestrator.runs.staged import Budget
from orchestrator.runs.toolbox import Toolbox
from orchestrator.runs.verify import Checked

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
    wanted = wanted_sources(box, request)
    probed = [*probe_all(box, wanted, undo), *_unwanted(box, wanted)]
    cap, findings = _staging_cap(box)
    policy = box.config.policy
    parents = {
        (source.service, source.tier): parent
        for source in wanted
        if box.engines[source.engine].delivers == "paths"
        and (parent := box.catalog.paths_snapshot(source.service, source.tier, repository.name))
    }
    services = len({source.service for source in wanted})
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
    """Run one backup and record it, whatever happens; what was committed before a failure stays in the record.

    Raises RunLocked and UsageError before anything was done.
    """
    wanted_sources(box, request)
    with box.lock(request.wait):
        reach("lock.taken")
        run, started = new_run(box, "backup")
        reach("run.begun")
        done = _Done()
        error: ResguardoError | None = None
        with box.undo(run) as undo:
            try:
                _run(box, request, run, undo, done)
            except ResguardoError as failure:
                error = failure
            except OSError as failure:
                error = explained(failure)
        return finish_run(box, _record(box, run, started, done, error))


@dataclass
class _Done:
    """What a run has brought so far."""

    plan: BackupPlan | None = None
    services: list[ServiceRecord] = field(default_factory=list)
    kept: RetentionEnd = field(default_factory=RetentionEnd)
    checked: Checked = field(default_factory=Checked)


def _run(box: Toolbox, request: BackupRequest, run: str, undo: Undo, done: _Done) -> None:
    repository = first_repository(box)
    _same_repository(box, repository, undo)
    _same_machine(box, repository, request, undo)
    _enough_room(box, repository)
    done.plan = plan(box, request, undo)
    reach("probe.done")
    _execute(box, repository, done.plan, run, undo, done.services)
    reach("catalog.recorded")
    if any(service.point for service in done.services):
        done.kept = retention.when_due(box, repository, done.plan.forget, run, undo)
        done.checked = verify.when_due(box, repository, done.plan.check, undo)


def _execute(
    box: Toolbox, repository: Repository, planned: BackupPlan, run: str, undo: Undo, done: list[ServiceRecord]
) -> None:
    budget = Budget(_staging_cap(box)[0])

    def make(point: PlannedPoint) -> None:
        made = PointMaker(box, repository, point, run, undo, lanes, stagers, budget).make()
        record = made.record
        done.append(record)
        if made.manifest:
            # The very one that was committed: what other points earn meanwhile is not in it.
            box.catalog.add_point(made.manifest, repository.name, record.snapshots, record.commit)
        for source in record.sources:
            box.progress.finish(f"{record.service}/{source.name}", source.state)

    with (
        ThreadPoolExecutor(planned.parallel, thread_name_prefix="stage") as stagers,
        ThreadPoolExecutor(planned.parallel, thread_name_prefix="lane") as lanes,
        ThreadPoolExecutor(planned.parallel, thread_name_prefix="point") as points,
    ):
        list(points.map(make, planned.points))
    done.sort(key=lambda record: (record.service, record.tier))


def _record(box: Toolbox, run: str, started: datetime, done: _Done, error: ResguardoError | None) -> RunRecord:
    repository = first_repository(box)
    codes = [*_codes(done.services), done.kept.exit_code, done.checked.exit_code]
    code = worst([*codes, error.exit_code] if error else codes)
    place = RepositoryRecord(
        repository.name,
        repository.describe(),
        added=sum(service.added for service in done.services),
        retention=done.kept.text,
        check=done.checked.text,
        error="; ".join(text for text in (done.kept.error, done.checked.error) if text),
    )
    ended = box.clock()
    events = [*_plan_events(box, done.plan, run), *_source_events(box, done.services, run)]
    events += [replace(event, run=run) for event in (*done.kept.events, *done.checked.events)]
    events += _slow(box, run, started, ended)
    cause = error or next((failed for failed in map(_cause, done.services) if failed), None)
    return RunRecord(
        id=run,
        command="backup",
        host=box.config.policy.host,
        started=started,
        ended=ended,
        result=result_of(code, error, done.services),
        exit_code=code,
        restic_processes=repository.processes,
        services=tuple(done.services),
        repositories=(place,) if done.plan else (),
        forgotten=done.kept.forgotten,
        events=tuple(events),
        error=cause.message if cause else "",
        hint=cause.hint if cause else None,
    )


def _cause(service: ServiceRecord) -> ResguardoError | None:
    return ResguardoError(f"{service.service}: {service.error}", service.hint) if service.error else None


def _codes(services: Sequence[ServiceRecord]) -> list[int]:
    """Return the exit codes that services ask for: a part that failed is 3, a run that brought nothing its causes'."""
    sources = [source for service in services for source in service.sources]
    if services and not any(service.point for service in services):
        causes = [service.exit_code for service in services] + [source.exit_code for source in sources]
        return [code for code in causes if code] or [EXIT_FAILED]
    flawed = [service for service in services if not service.point]
    flawed_sources = [source for source in sources if source.state in ("failed", "partial")]
    return [EXIT_PARTIAL] if flawed or flawed_sources else [EXIT_DONE]


def _slow(box: Toolbox, run: str, started: datetime, ended: datetime) -> list[Event]:
    most = box.config.policy.health.max_duration
    took = (ended - started).total_seconds()
    if most is None or took <= most:
        return []
    message = f"the backup took {took:.0f} s, over the {most:.0f} s of health.max_duration"
    return [Event(ended, "duration.exceeded", "warning", message, run=run)]


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


def _unwanted(box: Toolbox, wanted: Sequence[Source]) -> list[Probed]:
    """Return the other sources of the points that will be made: a point without them must say so, and be partial.

    Else a run that stores files only would pass for a whole backup, and displace one with databases.
    """
    places = {(source.service, source.tier) for source in wanted}
    names = {source.id for source in wanted}
    return [
        Probed(source, trouble=skipped())
        for source in box.sources
        if (source.service, source.tier) in places and source.id not in names
    ]


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


def _same_repository(box: Toolbox, repository: Repository, undo: Undo) -> None:
    """Refuse to write to an empty mount point or another disk: the history would go on in two places."""
    identity.refuse_absent(box, repository)
    if identity.changed(box, repository):
        rebuild.learn(box, repository, undo)
        identity.refuse_other(box, repository)


def _same_machine(box: Toolbox, repository: Repository, request: BackupRequest, undo: Undo) -> None:
    """Refuse to write under a host name that another machine uses: its retention and ours would mix."""
    newest = rebuild.newest(box, repository, undo)
    if newest is None or newest.machine == box.here.machine or request.new_machine:
        return
    raise ForeignMachine(
        f"repository {repository.name}: the newest restore point of host {newest.host!r} ({newest.point}) comes from "
        f"another machine ({newest.machine})",
        "give this machine its own `host` in policy.yml, or take the name over once with backup --new-machine",
    )


def _plan_events(box: Toolbox, planned: BackupPlan | None, run: str) -> list[Event]:
    return (
        []
        if planned is None
        else [
            Event(box.clock(), "disk.low", "warning", finding.message, run=run, hint=finding.hint)
            for finding in planned.findings
            if finding.level == "warning"
        ]
    )


def _source_events(box: Toolbox, services: Sequence[ServiceRecord], run: str) -> list[Event]:
    events = []
    for service in services:
        if service.error and any(source.state in ("taken", "partial") for source in service.sources):
            events.append(
                Event(box.clock(), "point.failed", "failed", service.error, run, service.service, hint=service.hint)
            )
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
