"""Make one restore point: its lanes side by side, its commit last."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic

from orchestrator.model.engine import DumpEnd, PathSet
from orchestrator.model.errors import EXIT_PRECONDITION, DumpFailed, Interrupted, ResguardoError
from orchestrator.model.execution import Finding, Outgrown, StreamReport, Trailer, Undo
from orchestrator.model.failpoints import reach
from orchestrator.model.names import encode_item, point_id
from orchestrator.model.record import ItemRecord, ServiceRecord, SourceRecord
from orchestrator.model.repository import BackupEnd, Part, Repository, SnapshotTags
from orchestrator.planning.backup import PlannedItem, PlannedPoint, PlannedSource, Trouble, shrunk
from orchestrator.runs.recording import manifest_of
from orchestrator.runs.store import STALL, Commit, store_paths, store_staged, store_stream, vouched
from orchestrator.runs.toolbox import Toolbox

Key = tuple[str, str]  # source name, item name


@dataclass
class Taken:
    """What the lanes brought: per item its record or its trouble, and the snapshots they made."""

    items: dict[Key, ItemRecord] = field(default_factory=dict)
    troubles: dict[Key, Trouble] = field(default_factory=dict)
    partial: dict[Key, str] = field(default_factory=dict)
    findings: dict[Key, tuple[Finding, ...]] = field(default_factory=dict)
    starts: list[datetime] = field(default_factory=list)
    snapshots: dict[str, str] = field(default_factory=dict)
    added: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def snapshot(self, part: str, end: BackupEnd) -> None:
        """Note a stored snapshot; lanes do so at the same time."""
        with self.lock:
            self.snapshots[part] = end.snapshot
            self.added += end.added


class Clocks:
    """When each source must be done: its time limit runs from its first item on, over all of its items."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def left(self, source: PlannedSource) -> float:
        """Return the seconds that a source has left; it has at least one, so that its end is a deadline's."""
        with self._lock:
            until = self._until.setdefault(source.source.name, monotonic() + source.source.timeout)
        return max(1.0, until - monotonic())


class Budget:
    """Bytes that staged dumps may take together, of all points that are being made at the same time."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._lock = threading.Lock()

    def take(self, expected: int) -> int:
        """Reserve room for a dump; return how large it may become: twice what the probe said, while there is room."""
        with self._lock:
            granted = max(0, min(self._free, max(2 * expected, 1 << 20)))
            self._free -= granted
            return granted

    def give_back(self, granted: int) -> None:
        """Release what a dump was granted."""
        with self._lock:
            self._free += granted


@dataclass(frozen=True)
class PointMaker:
    """Everything that the making of one restore point needs."""

    box: Toolbox
    repository: Repository
    planned: PlannedPoint
    run: str
    undo: Undo
    lanes: ThreadPoolExecutor
    stagers: ThreadPoolExecutor
    budget: Budget
    clocks: Clocks = field(default_factory=Clocks)

    def make(self) -> ServiceRecord:
        """Store all sources and commit what was taken; a source that fails is marked and does not stop the others.

        Raises Interrupted only; everything else is in the record.
        """
        if not any(source.items and not source.trouble for source in self.planned.sources):
            return self._record(Taken(), "", None, DumpFailed("no source could be dumped"))
        timeouts = sum(source.source.timeout for source in self.planned.sources if source.items)
        commit = None
        taken = Taken()
        try:
            commit = Commit(self.box, self.repository, self._tags("commit"), self.undo, timeouts + 3600)
            self._gather(taken)
            if not taken.items:
                return self._record(taken, "", None, DumpFailed("no source could be dumped"))
            ended = self.box.clock()
            record = self._record(taken, "", ended)
            end = commit.finish(manifest_of(self.box, record, self.run))
            taken.snapshot("commit", end)
            return self._record(taken, end.snapshot, ended)
        except Interrupted:
            raise
        except ResguardoError as error:
            return self._record(taken, "", None, error)
        finally:
            if commit:
                commit.abort()

    def _tags(self, part: Part, source: str = "", item: str = "") -> SnapshotTags:
        return SnapshotTags(self.planned.service, self.planned.tier, self.run, part, source, item)

    def _gather(self, taken: Taken) -> None:
        futures: list[Future[None]] = []
        for source, item in self.planned.items("stream"):
            futures.append(self.lanes.submit(self._guarded, taken, [(source, item)], self._stream, source, item))
        for source, item in self.planned.items("paths"):
            futures.append(self.lanes.submit(self._guarded, taken, [(source, item)], self._paths, source, item))
        staged = self.planned.items("staged")
        if staged:
            futures.append(self.lanes.submit(self._guarded, taken, staged, self._staged, staged))
        errors = [error for future in futures if (error := future.exception())]
        if errors:
            raise next((error for error in errors if isinstance(error, Interrupted)), errors[0])

    def _guarded(
        self,
        taken: Taken,
        concerned: list[tuple[PlannedSource, PlannedItem]],
        lane: Callable[..., None],
        *args: object,
    ) -> None:
        """Run one lane; its failure becomes the trouble of the items that it carried."""
        try:
            lane(taken, *args)
        except Interrupted:
            raise
        except ResguardoError as error:
            self._troubled(taken, concerned, Trouble(error.message, error.hint, error.exit_code))
        except OSError as error:
            what = f"{error.strerror or error}".lower() + (f": {error.filename}" if error.filename else "")
            self._troubled(
                taken, concerned, Trouble(what, "look at this machine's disks and limits", EXIT_PRECONDITION)
            )

    def _troubled(self, taken: Taken, concerned: list[tuple[PlannedSource, PlannedItem]], trouble: Trouble) -> None:
        for source, item in concerned:
            key = (source.source.name, item.item.name)
            taken.items.pop(key, None)
            taken.troubles.setdefault(key, trouble)

    def _stream(self, taken: Taken, source: PlannedSource, item: PlannedItem) -> None:
        engine, name = self.box.engines[source.source.engine], source.source.id
        self.box.progress.start(name, source.expected)
        began, wall = monotonic(), self.box.clock()
        with ExitStack() as stack:

            def dump() -> tuple[int, Trailer, Callable[[], DumpEnd]]:
                dumping = stack.enter_context(engine.dump(item.item, self.box.at, self.undo))
                return dumping.fd, dumping.trailer, dumping.finish

            report, end, stored = store_stream(
                self.box,
                self.repository,
                item.stored,
                self._tags("stream", source.source.name, encode_item(item.item.name)),
                self.undo,
                dump,
                self.clocks.left(source),
                lambda done: self.box.progress.update(name, done),
            )
        self._took(taken, source, item, report, end, began, wall, f"/{item.stored}", stored.snapshot)
        taken.snapshot(f"stream:{source.source.name}:{item.item.name}", stored)

    def _took(
        self,
        taken: Taken,
        source: PlannedSource,
        item: PlannedItem,
        report: StreamReport,
        end: DumpEnd,
        began: float,
        wall: datetime,
        path: str,
        snapshot: str = "",
    ) -> None:
        key = (source.source.name, item.item.name)
        taken.items[key] = ItemRecord(
            name=item.item.name,
            part=item.route if item.route != "staged" else "dumps",
            path=path,
            bytes=report.bytes,
            sha256=report.sha256,
            snapshot=snapshot,
            seconds=round(monotonic() - began, 3),
            counts=dict(end.counts),
            counts_exact=end.counts_exact,
            as_of=end.as_of,
            role=item.item.role,
            extension=item.item.extension,
            owner=end.owner,
        )
        taken.findings[key] = tuple(end.findings)
        taken.starts.append(end.as_of or wall)

    def _paths(self, taken: Taken, source: PlannedSource, item: PlannedItem) -> None:
        name = source.source.id
        self.box.progress.start(name, source.expected)
        began, wall = monotonic(), self.box.clock()
        end = store_paths(
            self.repository,
            item.paths or PathSet(()),
            self._tags("paths"),
            self.undo,
            parent=self.planned.parent,
            timeout=self.clocks.left(source),
            on_bytes=lambda done: self.box.progress.update(name, done),
        )
        reach("paths.stored")
        key = (source.source.name, item.item.name)
        taken.items[key] = ItemRecord(
            name=item.item.name,
            part="paths",
            path="/",
            bytes=end.bytes,
            sha256=None,
            snapshot=end.snapshot,
            seconds=round(monotonic() - began, 3),
            counts={"files": end.files},
            counts_exact=True,
            as_of=end.started or wall,
            role=item.item.role,
        )
        if doubt := self._doubt(source, item, end):
            taken.partial[key] = doubt
        elif end.partial:
            shown = ", ".join(path for path, _ in end.unreadable[:5])
            more = f" and {len(end.unreadable) - 5} more" if len(end.unreadable) > 5 else ""
            taken.partial[key] = f"could not be read: {shown or 'some files'}{more}"
        if item.paths:
            taken.findings[key] = item.paths.findings
        taken.snapshot("paths", end)
        taken.starts.append(end.started or wall)

    def _doubt(self, source: PlannedSource, item: PlannedItem, end: BackupEnd) -> str:
        """Say why what restic read may not be what the source holds, though restic has nothing to complain about."""
        if not end.files and source.history and source.history.bytes:
            return "no file was found, where there were some before; is it not mounted?"
        try:
            # Looked at again: a path may have been replaced by a link, or taken away, after the probe.
            self.box.engines[source.source.engine].paths(item.item)
        except ResguardoError as error:
            return f"changed while it was read: {error.message}"
        return ""

    def _staged(self, taken: Taken, staged: list[tuple[PlannedSource, PlannedItem]]) -> None:
        outgrown: list[tuple[PlannedSource, PlannedItem]] = []
        grants: list[int] = []
        try:
            with self.box.here.staging(f"{self.planned.service}/{self.planned.tier}", self.undo) as folder:
                reach("staging.made")
                self._stage_all(taken, folder, staged, outgrown, grants)
                self._store_staged(taken, folder, staged)
        finally:
            for granted in grants:
                self.budget.give_back(granted)
        for source, item in outgrown:
            self._guarded(taken, [(source, item)], self._stream, source, replace(item, route="stream"))

    def _stage_all(
        self,
        taken: Taken,
        folder: str,
        staged: list[tuple[PlannedSource, PlannedItem]],
        outgrown: list[tuple[PlannedSource, PlannedItem]],
        grants: list[int],
    ) -> None:
        jobs = [
            self.stagers.submit(self._guarded, taken, [pair], self._stage, folder, outgrown, grants, *pair)
            for pair in staged
        ]
        errors = [error for job in jobs if (error := job.exception())]
        if errors:
            raise next((error for error in errors if isinstance(error, Interrupted)), errors[0])

    def _store_staged(self, taken: Taken, folder: str, staged: list[tuple[PlannedSource, PlannedItem]]) -> None:
        planned = {(source.source.name, item.item.name): (source, item) for source, item in staged}
        held = {key: taken.items[key] for key in planned if key in taken.items}
        if not held:
            return
        timeout = max(self.clocks.left(source) for source, _ in staged)
        names = [planned[key][1].stored for key in held]
        sizes = sum(record.bytes for record in held.values())
        end = store_staged(self.repository, folder, names, sizes, self._tags("dumps"), self.undo, timeout)
        reach("staging.stored")
        for key, record in held.items():
            taken.items[key] = replace(record, snapshot=end.snapshot)
        taken.snapshot("dumps", end)

    def _stage(
        self,
        taken: Taken,
        folder: str,
        outgrown: list[tuple[PlannedSource, PlannedItem]],
        grants: list[int],
        source: PlannedSource,
        item: PlannedItem,
    ) -> None:
        engine, name = self.box.engines[source.source.engine], source.source.id
        path = os.path.join(folder, item.stored)
        granted = self.budget.take(item.item.bytes or 0)
        grants.append(granted)
        self.box.progress.start(name, source.expected)
        began, wall = monotonic(), self.box.clock()
        with engine.dump(item.item, self.box.at, self.undo) as dump:
            try:
                report = self.box.stage(
                    dump.fd,
                    path,
                    dump.trailer,
                    cap=granted,
                    deadline=self.clocks.left(source),
                    stall=STALL,
                    on_bytes=lambda done: self.box.progress.update(name, done),
                )
            except Outgrown:
                outgrown.append((source, item))
                return
            try:
                end = vouched(report, dump.finish())
            except DumpFailed:
                os.unlink(path)
                raise
        self._took(taken, source, item, report, end, began, wall, path)
        reach("staging.dump.done")

    def _record(
        self, taken: Taken, commit: str, ended: datetime | None, cause: ResguardoError | None = None
    ) -> ServiceRecord:
        return ServiceRecord(
            service=self.planned.service,
            tier=self.planned.tier,
            sources=tuple(self._source(taken, source, cause) for source in self.planned.sources),
            point=point_id(self.planned.service, self.planned.tier, self.run) if commit else "",
            time=min(taken.starts) if taken.starts else None,
            ended=ended,
            commit=commit,
            snapshots=dict(taken.snapshots),
            added=taken.added,
            error=cause.message if cause else "",
            hint=cause.hint if cause else None,
            exit_code=cause.exit_code if cause else 0,
        )

    def _source(self, taken: Taken, planned: PlannedSource, cause: ResguardoError | None) -> SourceRecord:
        name = planned.source.name
        keys = [(name, item.item.name) for item in planned.items]
        items = tuple(taken.items[key] for key in keys if key in taken.items)
        trouble = planned.trouble or next((taken.troubles[key] for key in keys if key in taken.troubles), None)
        if trouble is None and len(items) < len(keys):
            trouble = Trouble(cause.message, cause.hint, cause.exit_code) if cause else Trouble("not taken", None, 1)
        partial = "; ".join(taken.partial[key] for key in keys if key in taken.partial)
        findings = (*planned.findings, *(finding for key in keys for finding in taken.findings.get(key, ())))
        small = None if trouble else shrunk(sum(item.bytes for item in items), planned.history)
        return SourceRecord(
            name=name,
            engine=planned.source.engine,
            state=_state(planned, trouble, partial),
            items=items,
            error=trouble.message if trouble else partial,
            hint=trouble.hint if trouble else None,
            exit_code=trouble.exit_code if trouble else 0,
            server=planned.server,
            tool=planned.tool,
            findings=(*findings, small) if small else findings,
            seconds=max((item.seconds for item in items), default=0.0),
        )


def _state(planned: PlannedSource, trouble: Trouble | None, partial: str) -> str:
    if not planned.wanted:
        return "skipped"
    return "failed" if trouble else "partial" if partial else "taken"
