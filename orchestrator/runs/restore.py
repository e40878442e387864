"""Restore: choose points, plan, bring each item back under a new name, check it, and only then swap."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from typing import Literal

from orchestrator.model.engine import Item, Source
from orchestrator.model.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PARTIAL,
    DiskFull,
    Interrupted,
    Precondition,
    ResguardoError,
    RestoreFailed,
    UsageError,
    worst,
)
from orchestrator.model.execution import Finding, RemovePath, Undo
from orchestrator.model.failpoints import reach
from orchestrator.model.names import RESTORING
from orchestrator.model.point import Point, PointItem, PointSource, State
from orchestrator.model.record import Event, RestoredItem, Result, RunRecord
from orchestrator.model.repository import Repository
from orchestrator.planning.backup import seen_through
from orchestrator.planning.restore import Living, RestorePlan, RestoreStep, Where, plan_restore
from orchestrator.planning.select import Choice, choose
from orchestrator.runs.data import RepositoryData
from orchestrator.runs.recording import finish_run, new_run
from orchestrator.runs.toolbox import Toolbox
from orchestrator.runs.verify import snapshot_of


@dataclass(frozen=True)
class RestoreRequest:
    """What to restore, from when, and where to. sources: empty for all of the service's."""

    service: str
    choice: Choice
    where: Where
    sources: Sequence[str] = ()
    repository: str = ""
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    wait: float = 0.0


def plan(box: Toolbox, request: RestoreRequest) -> RestorePlan:
    """Choose and plan; touches nothing. Raises NoSuchPoint, UsageError."""
    points = box.catalog.points(repository=request.repository or None, service=request.service)
    chosen = choose(points, request.choice, sources=request.sources)
    living = {source.name: living_of(box, source) for source in box.sources if source.service == request.service}
    return plan_restore(request.service, chosen, request.sources, request.where, living, box.clock(), request.choice.at)


def living_of(box: Toolbox, source: Source) -> Living:
    """Return what a configured source restores over: its path, or the databases of its server."""
    engine = box.engines[source.engine]
    originals: Mapping[str, str] = engine.originals(source)
    return Living(engine.places, originals)


def restore(box: Toolbox, request: RestoreRequest, planned: RestorePlan) -> tuple[RunRecord, tuple[RestoredItem, ...]]:
    """Carry a plan out; recorded as a run.

    To a new place one source's failure does not stop the others. In place nothing is swapped before everything is
    there and checked: files and databases of a service belong together.
    """
    lock = box.lock(request.wait) if request.where.in_place else nullcontext()
    with lock:
        run, started = new_run(box, "restore")
        done: list[RestoredItem] = []
        error: ResguardoError | None = None
        made = [_real(box, step.target) for step in planned.steps if step.original and step.target.startswith("/")]
        with box.undo(run, also=[path[: path.rindex(RESTORING) + len(RESTORING)] for path in made]) as undo:
            try:
                _enough_room(box, request, planned)
                _refuse_ours(box, request)
                for path in made:
                    undo.register(RemovePath(path))
                _load_all(box, request, planned, run, undo, done)
                _swap_all(box, request, planned, undo, done)
            except ResguardoError as failure:
                error = failure
        _raise_states(box, planned, done, request)
        partial = any(step.source.outcome != "taken" for step in planned.steps)
        return finish_run(box, _record(box, run, started, request, done, error, partial=partial)), tuple(done)


def _real(box: Toolbox, path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(box.here.real(folder), name)


def _load_all(
    box: Toolbox, request: RestoreRequest, planned: RestorePlan, run: str, undo: Undo, done: list[RestoredItem]
) -> None:
    for step in planned.steps:
        began = monotonic()
        try:
            failed = [item for item in done if item.source == step.source.name and item.state == "failed"]
            if failed:
                done.append(_item(step, "skipped", error=f"{failed[0].item} of the same source failed"))
                continue
            reach("restore.started")
            findings = _load_and_verify(box, request, step, undo)
            done.append(_item(step, "restored", findings=findings, seconds=round(monotonic() - began, 3)))
        except Interrupted:
            raise
        except (ResguardoError, OSError) as error:
            known = error if isinstance(error, ResguardoError) else _explained(step.target, error)
            done.append(_item(step, "failed", error=known.message, hint=known.hint, exit_code=known.exit_code))
            box.event(
                Event(
                    box.clock(),
                    "source.failed",
                    "failed",
                    known.message,
                    run,
                    request.service,
                    step.source.name,
                    hint=known.hint,
                )
            )


def _explained(target: str, error: OSError) -> Precondition:
    return Precondition(f"{error.filename or target}: {(error.strerror or str(error)).lower()}", "choose another place")


def _swap_all(
    box: Toolbox, request: RestoreRequest, planned: RestorePlan, undo: Undo, done: list[RestoredItem]
) -> None:
    if not request.where.in_place:
        return
    stopped = "" if all(item.state == "restored" for item in done) else "nothing was swapped, since another part failed"
    for place, step in enumerate(planned.steps):
        if not step.original or done[place].state != "restored":
            continue
        if stopped:
            done[place] = replace(done[place], state="skipped", error=stopped, target=step.target)
            continue
        try:
            item = _item_of(box, request.service, step)
            kept = box.engines[step.source.engine].swap(item, step.target, step.kept, box.at, undo)
            done[place] = replace(done[place], target=step.original, kept=kept.name or "")
            reach("restore.swapped")
        except (ResguardoError, OSError) as error:
            known = error if isinstance(error, ResguardoError) else _explained(step.original, error)
            stopped = f"not swapped, since {step.source.name} could not be; what was swapped before stays so"
            done[place] = replace(
                done[place], state="failed", error=known.message, hint=known.hint, exit_code=known.exit_code
            )


def _refuse_ours(box: Toolbox, request: RestoreRequest) -> None:
    """Refuse to swap a directory that holds what this restore, or a living database, stands on."""
    if not request.where.in_place:
        return
    ours = {place: reason for reason, places in box.here.places.items() for place in places}
    ours[box.config.policy_path] = "the policy"
    for source in box.sources:
        if source.engine == "sqlite":
            ours[source.options.path] = f"the database {source.id}"
    for source in box.sources:
        if source.service != request.service or (request.sources and source.name not in request.sources):
            continue
        for path in getattr(source.options, "paths", ()):
            real = box.here.real(path)
            for place, reason in ours.items():
                if seen_through(path, real, box.here.real(place)):
                    raise Precondition(
                        f"{path} cannot be swapped: {place} ({reason}) lies in it",
                        "restore it with --to, and move over what you need",
                    )


def _enough_room(box: Toolbox, request: RestoreRequest, planned: RestorePlan) -> None:
    if not request.where.to:
        return
    folder = request.where.to
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder) or "/"
    free = box.here.free(folder)
    if free < planned.bytes:
        raise DiskFull(
            f"{folder}: {free} bytes free, the restore needs {planned.bytes}", "make room, or choose another --to"
        )


def _item(
    step: RestoreStep,
    state: str,
    *,
    error: str = "",
    hint: str | None = None,
    exit_code: int = 0,
    findings: Sequence[Finding] = (),
    seconds: float = 0.0,
) -> RestoredItem:
    return RestoredItem(
        step.source.name,
        step.item.name,
        step.point.id,
        step.target,
        state,
        bytes=step.item.bytes,
        seconds=seconds,
        error=error,
        hint=hint,
        exit_code=exit_code,
        findings=tuple(findings),
    )


def _item_of(box: Toolbox, service: str, step: RestoreStep) -> Item:
    if step.source.engine not in box.engines:
        raise Precondition(f"engine {step.source.engine!r} is not installed", "install the package that provides it")
    source = _configured(box, service, step.source)
    return Item(source, step.item.name, step.item.extension, step.item.bytes, role=_role(step.item))


def _load_and_verify(box: Toolbox, request: RestoreRequest, step: RestoreStep, undo: Undo) -> list[Finding]:
    item = _item_of(box, request.service, step)
    findings = _load(box, request, step, box.repositories[step.point.repository], item, undo)
    reach("restore.loaded")
    expected = {} if request.include or request.exclude else dict(step.item.counts)
    findings += box.engines[step.source.engine].verify(item, step.target, expected, box.at, undo)
    bad = [finding for finding in findings if finding.level == "error"]
    if bad:
        raise RestoreFailed(
            f"{step.target} was restored, but is not right: {bad[0].message}",
            bad[0].hint or "look at it before you use it",
        )
    reach("restore.verified")
    return findings


def _role(item: PointItem) -> Literal["data", "globals"]:
    return "globals" if item.role == "globals" else "data"


def _load(
    box: Toolbox, request: RestoreRequest, step: RestoreStep, repository: Repository, item: Item, undo: Undo
) -> list[Finding]:
    snapshot = snapshot_of(step.point, step.item, step.source.name)
    engine = box.engines[step.source.engine]
    name = f"{request.service}/{step.source.name}"
    box.progress.start(name, step.item.bytes)
    if step.item.part == "paths":
        return _load_paths(repository, request, step, snapshot, undo)
    folder = os.path.dirname(step.target)
    if engine.places == "path" and request.where.to:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    with RepositoryData(
        repository,
        snapshot,
        step.item.path,
        step.item.bytes,
        step.item.sha256,
        undo,
        lambda done: box.progress.update(name, done),
    ) as data:
        restored = engine.restore(item, data, step.target, box.at, undo)
    return list(restored.findings)


def _load_paths(
    repository: Repository, request: RestoreRequest, step: RestoreStep, snapshot: str, undo: Undo
) -> list[Finding]:
    if os.path.lexists(step.target) and (not os.path.isdir(step.target) or os.listdir(step.target)):
        raise RestoreFailed(f"{step.target} exists and is not an empty directory", "give --to a new directory")
    os.makedirs(step.target, mode=0o700, exist_ok=True)
    end = repository.restore(snapshot, step.target, undo, include=request.include, exclude=request.exclude, verify=True)
    if end.errors:
        path, reason = end.errors[0]
        raise RestoreFailed(f"{len(end.errors)} files could not be restored, the first is {path}: {reason}")
    if request.include and not end.files:
        raise RestoreFailed("nothing in the restore point matches --include", "resguardo show POINT lists its paths")
    return []


def _configured(box: Toolbox, service: str, source: PointSource) -> Source:
    for configured in box.sources:
        if configured.service == service and configured.name == source.name:
            if configured.engine != source.engine:
                raise UsageError(
                    f"{configured.id} is {configured.engine} now and was {source.engine} then",
                    "give the old kind another name in services.yml",
                )
            return configured
    if source.engine == "files":
        return Source(service, source.name, source.engine, "default", 0.0, None, box.no_secret)
    raise Precondition(
        f"{service}/{source.name} is not in services.yml, so its server is not known",
        "put it back as `resguardo show POINT --files` prints it",
    )


def _raise_states(box: Toolbox, planned: RestorePlan, done: Sequence[RestoredItem], request: RestoreRequest) -> None:
    """Raise a source's state to `restored` where all of its items came back whole and checked."""
    if request.include or request.exclude:
        return
    good = {(item.point, item.source) for item in done if item.state == "restored"}
    bad = {(item.point, item.source) for item in done if item.state != "restored"}
    complete: dict[tuple[str, str], tuple[Point, PointSource]] = {
        (step.point.id, step.source.name): (step.point, step.source) for step in planned.steps
    }
    for key in good - bad:
        point, source = complete[key]
        came_back = sum(1 for item in done if (item.point, item.source) == key)
        data = [item for item in source.items if item.role == "data"]
        if source.outcome == "taken" and came_back >= len(data):
            box.catalog.set_state(point.id, source.name, State.RESTORED)


def _record(
    box: Toolbox,
    run: str,
    started: datetime,
    request: RestoreRequest,
    done: Sequence[RestoredItem],
    error: ResguardoError | None,
    *,
    partial: bool,
) -> RunRecord:
    failed = [item for item in done if item.state != "restored"]
    if error:
        code = error.exit_code
    elif not failed:
        code = EXIT_PARTIAL if partial else EXIT_DONE
    elif len(failed) < len(done):
        code = EXIT_PARTIAL
    else:
        code = worst([EXIT_FAILED, *(item.exit_code for item in failed if item.exit_code)])
    message = error.message if error else "; ".join(f"{item.source}/{item.item}: {item.error}" for item in failed)
    return RunRecord(
        id=run,
        command="restore",
        host=box.config.policy.host,
        started=started,
        ended=box.clock(),
        result="interrupted" if isinstance(error, Interrupted) else _result(code),
        exit_code=code,
        error=f"{request.service}: {message}" if message else "",
        hint=error.hint if error else next((item.hint for item in failed if item.hint), None),
    )


def _result(code: int) -> Result:
    if code == EXIT_DONE:
        return "success"
    return "partial" if code == EXIT_PARTIAL else "failed"
