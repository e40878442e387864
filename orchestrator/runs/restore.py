"""Restore: choose points, plan, bring each item back under a new name, check it, and only then swap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic

from orchestrator.model.engine import Item, Original, Source
from orchestrator.model.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PARTIAL,
    Interrupted,
    Precondition,
    ResguardoError,
    worst,
)
from orchestrator.model.execution import Finding, RemovePath, Undo
from orchestrator.model.failpoints import reach
from orchestrator.model.names import RESTORING
from orchestrator.model.point import Point, PointSource, State
from orchestrator.model.record import Event, RestoredItem, RunRecord
from orchestrator.planning.restore import Living, RestorePlan, RestoreStep, Where, plan_restore
from orchestrator.planning.select import Choice, choose, nothing_of, of_host
from orchestrator.runs.catch_up import catch_up
from orchestrator.runs.half_done import HalfDone
from orchestrator.runs.outside import explained
from orchestrator.runs.recording import finish_run, new_run, result_of
from orchestrator.runs.restore_checks import enough_room, on_path, real_target, refuse_ours
from orchestrator.runs.restore_item import Picks, item_of, load_and_verify
from orchestrator.runs.restore_places import backed_up, placed, swap_order
from orchestrator.runs.toolbox import Toolbox


@dataclass(frozen=True)
class RestoreRequest:
    """What to restore, from when, and where to. sources: empty for all of the service's · databases: only these, of
    sources that hold several; empty for all.
    """

    service: str
    choice: Choice
    where: Where
    sources: Sequence[str] = ()
    repository: str = ""
    picks: Picks = field(default_factory=Picks)
    wait: float = 0.0
    databases: Sequence[str] = ()


def plan(box: Toolbox, request: RestoreRequest) -> RestorePlan:
    """Choose and plan; touches nothing but the catalog, which first learns what the repositories hold by now.

    Raises NoSuchPoint, UsageError; in place also Precondition (no swap is possible), DiskFull.
    """
    news = catch_up(box, request.service, request.choice)
    known = box.catalog.points(repository=request.repository or None, service=request.service)
    if not known:
        active = {source.service for source in box.sources}
        raise nothing_of(request.service, active, box.catalog.points(items=False))
    known = box.within_reach(known)
    points = known if request.choice.point else of_host(known, box.config.policy.host)
    chosen = choose(points, request.choice, sources=request.sources)
    living = {source.name: living_of(box, source) for source in box.sources if source.service == request.service}
    now, asked = box.clock(), request.choice.at
    planned = plan_restore(
        request.service, chosen, request.sources, request.where, living, now, asked, request.databases
    )
    planned = replace(planned, notes=(*news, *planned.notes))
    if not request.where.in_place:
        return planned
    refuse_ours(box, request.service, planned)
    enough_room(box, planned)
    return _looked(box, request.service, placed(box, request.service, planned))


def _looked(box: Toolbox, service: str, planned: RestorePlan) -> RestorePlan:
    """Add what stands in the place of each original now, and what is worth saying about it. Raises Precondition."""
    steps, notes = [], list(planned.notes)
    for step in planned.steps:
        found = _original(box, item_of(box, service, step)) if step.original else Original()
        for finding in found.findings:
            if finding.level == "error":
                raise Precondition(f"{step.source.name} cannot be swapped: {finding.message}", finding.hint)
        steps.append(replace(step, there=found.there))
        notes += [f"{step.source.name}: {_with_hint(finding)}" for finding in found.findings]
    return replace(planned, steps=tuple(steps), notes=tuple(notes))


def _original(box: Toolbox, item: Item) -> Original:
    return box.engines[item.source.engine].original(item, box.at(item.source))


def _with_hint(finding: Finding) -> str:
    return f"{finding.message}; {finding.hint}" if finding.hint else finding.message


def living_of(box: Toolbox, source: Source) -> Living:
    """Return what a configured source restores over: its path, or the databases of its server."""
    engine = box.engines[source.engine]
    originals: Mapping[str, str] = engine.originals(source)
    return Living(engine.places, originals, _server(source))


def _server(source: Source) -> str:
    keys = ("host", "port", "socket", "service", "service_file")
    return " ".join([source.engine, source.container, *(str(getattr(source.options, key, "")) for key in keys)])


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
        made = [real_target(box, step.target) for step in planned.steps if step.original and on_path(box, step)]
        with box.undo(run, also=[path[: path.rindex(RESTORING) + len(RESTORING)] for path in made]) as undo:
            try:
                if not request.picks:
                    enough_room(box, planned)
                refuse_ours(box, request.service, planned)
                for path in made:
                    undo.register(RemovePath(path))
                acting = _Acting(box, request, planned, undo, done, HalfDone(box, request.service, undo))
                acting.load_all()
                if request.where.in_place:
                    acting.swap_all()
            except ResguardoError as failure:
                error = failure
                done = _not_swapped(planned, done)
        _raise_states(box, planned, done, request)
        wrong = any(found.level == "error" for item in done for found in item.findings)
        partial = wrong or any(step.source.outcome != "taken" for step in planned.steps)
        record = _record(box, run, started, request, done, error, partial=partial)
        return finish_run(box, record, about=request.service), tuple(done)


@dataclass(frozen=True)
class _Acting:
    """A restore under way. done: how each step ended so far."""

    box: Toolbox
    request: RestoreRequest
    planned: RestorePlan
    undo: Undo
    done: list[RestoredItem]
    half: HalfDone

    def load_all(self) -> None:
        """Bring every item back under its new name."""
        for step in self.planned.steps:
            failed = [item for item in self.done if item.source == step.source.name and item.state == "failed"]
            if failed:
                self.done.append(_item(step, "skipped", error=f"{failed[0].item} of the same source failed"))
                continue
            reach("restore.started")
            self.half.loading(step)
            self.done.append(self._load(step))
            self.half.loaded(step, whole=self.done[-1].state == "restored")
            self.box.progress.finish(f"{self.request.service}/{step.source.name}", self.done[-1].state)

    def _load(self, step: RestoreStep) -> RestoredItem:
        """Bring one item back; any failure but an interruption becomes its state. Raises Interrupted."""
        began = monotonic()
        try:
            loaded = load_and_verify(self.box, self.request.service, self.request.picks, step, self.undo)
        except Interrupted:
            raise
        except (ResguardoError, OSError) as error:
            return _failed(_item(step, "failed"), error, step.target)
        back = _item(step, "restored", findings=loaded.findings, seconds=round(monotonic() - began, 3))
        return replace(back, bytes=loaded.bytes)

    def swap_all(self) -> None:
        """Put what came back into its original's place; nothing of it when a part did not come back."""
        done = self.done
        whole = all(item.state == "restored" for item in done)
        stopped = "" if whole else "nothing was swapped, since another part failed"
        for place, step in swap_order(self.planned):
            if not step.original or done[place].state != "restored":
                continue
            if stopped:
                done[place] = replace(done[place], state="skipped", error=stopped, target=step.target)
                continue
            try:
                done[place] = self._swap(step, done[place])
                reach("restore.swapped")
            except Interrupted:
                raise
            except (ResguardoError, OSError) as error:
                self.half.unswapped(step)
                stopped = f"not swapped, since {step.source.name} could not be; what was swapped before stays so"
                done[place] = _failed(done[place], error, step.original)

    def _swap(self, step: RestoreStep, back: RestoredItem) -> RestoredItem:
        item = item_of(self.box, self.request.service, step)
        self.half.swapping(step)
        engine = self.box.engines[step.source.engine]
        kept = engine.swap(item, step.target, step.kept, self.box.at(item.source), self.undo)
        self.half.swapped(step, kept)
        found = (*back.findings, *kept.findings, *backed_up(self.box, step, kept))
        return replace(back, target=step.original, kept=kept.name or "", findings=found)


def _failed(item: RestoredItem, error: ResguardoError | OSError, where: str) -> RestoredItem:
    known = error if isinstance(error, ResguardoError) else explained(error, where)
    return replace(item, state="failed", error=known.message, hint=known.hint, exit_code=known.exit_code)


def _not_swapped(planned: RestorePlan, done: Sequence[RestoredItem]) -> list[RestoredItem]:
    """Return the items, those skipped that came back beside an original and had not taken its place at the end."""
    return [
        replace(item, state="skipped", error="not swapped, since the restore ended before")
        if step.original and item.state == "restored" and item.target == step.target
        else item
        for step, item in zip(planned.steps, done, strict=False)
    ]


def _item(
    step: RestoreStep,
    state: str,
    *,
    error: str = "",
    findings: Sequence[Finding] = (),
    seconds: float = 0.0,
) -> RestoredItem:
    return RestoredItem(
        step.source.name,
        step.item.name,
        step.point.id,
        step.target,
        state,
        seconds=seconds,
        error=error,
        findings=tuple(findings),
    )


def _raise_states(box: Toolbox, planned: RestorePlan, done: Sequence[RestoredItem], request: RestoreRequest) -> None:
    """Raise a source's state to `restored` where all of its items came back whole and checked."""
    if request.picks:
        return
    good = {(item.point, item.source) for item in done if item.state == "restored"}
    bad = {(item.point, item.source) for item in done if item.state != "restored"}
    complete: dict[tuple[str, str], tuple[Point, PointSource]] = {
        (step.point.id, step.source.name): (step.point, step.source) for step in planned.steps
    }
    for key in good - bad:
        point, source = complete[key]
        came_back = {item.item for item in done if (item.point, item.source) == key}
        data = {item.name for item in source.items if item.role == "data"}
        if source.outcome == "taken" and data <= came_back:
            box.catalog.set_state(point.id, point.repository, source.name, State.RESTORED)


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
        result=result_of(code, error),
        exit_code=code,
        error=f"{request.service}: {message}" if message else "",
        hint=error.hint if error else next((item.hint for item in failed if item.hint), None),
        events=tuple(_failure(box, run, request.service, item) for item in done if item.state == "failed"),
    )


def _failure(box: Toolbox, run: str, service: str, item: RestoredItem) -> Event:
    return Event(box.clock(), "source.failed", "failed", item.error, run, service, item.source, hint=item.hint)
