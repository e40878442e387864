"""Make one restore point: its lanes side by side, its commit last."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic

from orchestrator.model.engine import DumpEnd, PathSet
from orchestrator.model.errors import DumpFailed, Interrupted, ResguardoError
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


@dataclass(frozen=True)
class PointMaker:
    """Everything that the making of one restore point needs."""

    box: Toolbox
    repository: Repository
    planned: PlannedPoint
    run: str
    undo: Undo
    lanes: ThreadPoolExecutor
    parallel: int
    staging_cap: int

    def make(self) -> ServiceRecord:
        """Store all sources and commit what was taken; a source that fails is marked and does not stop the others.

        Raises Interrupted only; everything else is in the record.
        """
        if not any(source.items and not source.trouble for source in self.planned.sources):
            return self._record(Taken(), "", None, "no source could be dumped")
        timeouts = sum(source.source.timeout for source in self.planned.sources)
        commit = None
        taken = Taken()
        try:
            commit = Commit(self.box, self.repository, self._tags("commit"), self.undo, timeouts + 3600)
            self._gather(taken)
            if not taken.items:
                return self._record(taken, "", None, "no source could be dumped")
            ended = self.box.clock()
            record = self._record(taken, "", ended, "")
            end = commit.finish(manifest_of(self.box, record, self.run))
            taken.added += end.added
            taken.snapshots["commit"] = end.snapshot
            return self._record(taken, end.snapshot, ended, "")
        except Interrupted:
            raise
        except ResguardoError as error:
            return self._record(taken, "", None, error.message, error)
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
            for source, item in concerned:
                key = (source.source.name, item.item.name)
                taken.items.pop(key, None)
                taken.troubles.setdefault(key, Trouble(error.message, error.hint, error.exit_code))

    def _stream(self, taken: Taken, source: PlannedSource, item: PlannedItem) -> None:
        engine, name = self.box.engines[source.source.engine], source.source.id
        self.box.progress.start(name, source.expected)
        began = monotonic()
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
                source.source.timeout,
                lambda done: self.box.progress.update(name, done),
            )
        self._took(taken, source, item, report, end, monotonic() - began, stored, f"/{item.stored}")
        taken.snapshots[f"stream:{source.source.name}:{item.item.name}"] = stored.snapshot
        taken.added += stored.added

    def _took(
        self,
        taken: Taken,
        source: PlannedSource,
        item: PlannedItem,
        report: StreamReport,
        end: DumpEnd,
        seconds: float,
        stored: BackupEnd | None,
        path: str,
    ) -> None:
        key = (source.source.name, item.item.name)
        taken.items[key] = ItemRecord(
            name=item.item.name,
            part=item.route if item.route != "staged" else "dumps",
            path=path,
            bytes=report.bytes,
            sha256=report.sha256,
            snapshot=stored.snapshot if stored else "",
            seconds=round(seconds, 3),
            counts=dict(end.counts),
            counts_exact=end.counts_exact,
            as_of=end.as_of,
            role=item.item.role,
            extension=item.item.extension,
        )
        taken.findings[key] = tuple(end.findings)
        taken.starts.append(end.as_of or self.box.clock())

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
            timeout=source.source.timeout,
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
        if end.partial:
            shown = ", ".join(path for path, _ in end.unreadable[:5])
            more = f" and {len(end.unreadable) - 5} more" if len(end.unreadable) > 5 else ""
            taken.partial[key] = f"could not be read: {shown or 'some files'}{more}"
        if item.paths:
            taken.findings[key] = item.paths.findings
        taken.snapshots["paths"] = end.snapshot
        taken.starts.append(end.started or wall)
        taken.added += end.added

    def _staged(self, taken: Taken, staged: list[tuple[PlannedSource, PlannedItem]]) -> None:
        folder = self.box.here.staging(self.planned.service, self.undo)
        reach("staging.made")
        outgrown: list[tuple[PlannedSource, PlannedItem]] = []
        with ThreadPoolExecutor(max_workers=self.parallel, thread_name_prefix="stage") as pool:
            jobs = [
                (pair, pool.submit(self._guarded, taken, [pair], self._stage, folder, outgrown, *pair))
                for pair in staged
            ]
        for _, job in jobs:
            job.result()
        keys = {(source.source.name, item.item.name): item for source, item in staged}
        held = {key: taken.items[key] for key in keys if key in taken.items}
        if held:
            timeout = max(source.source.timeout for source, _ in staged)
            names = [keys[key].stored for key in held]
            sizes = sum(record.bytes for record in held.values())
            end = store_staged(self.repository, folder, names, sizes, self._tags("dumps"), self.undo, timeout)
            reach("staging.stored")
            for key, record in held.items():
                taken.items[key] = replace(record, snapshot=end.snapshot)
            taken.snapshots["dumps"] = end.snapshot
            taken.added += end.added
        for source, item in outgrown:
            self._guarded(taken, [(source, item)], self._stream, source, replace(item, route="stream"))

    def _stage(
        self,
        taken: Taken,
        folder: str,
        outgrown: list[tuple[PlannedSource, PlannedItem]],
        source: PlannedSource,
        item: PlannedItem,
    ) -> None:
        engine, name = self.box.engines[source.source.engine], source.source.id
        path = os.path.join(folder, item.stored)
        self.box.progress.start(name, source.expected)
        began = monotonic()
        with engine.dump(item.item, self.box.at, self.undo) as dump:
            try:
                report = self.box.stage(
                    dump.fd,
                    path,
                    dump.trailer,
                    cap=self.staging_cap,
                    deadline=source.source.timeout,
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
        self._took(taken, source, item, report, end, monotonic() - began, None, path)
        reach("staging.dump.done")

    def _record(
        self, taken: Taken, commit: str, ended: datetime | None, error: str, cause: ResguardoError | None = None
    ) -> ServiceRecord:
        sources = tuple(self._source(taken, source, cause) for source in self.planned.sources)
        return ServiceRecord(
            service=self.planned.service,
            tier=self.planned.tier,
            sources=sources,
            point=point_id(self.planned.service, self.planned.tier, self.run) if commit else "",
            time=min(taken.starts) if taken.starts else None,
            ended=ended,
            commit=commit,
            snapshots=dict(taken.snapshots),
            added=taken.added,
            error=error,
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
            state="failed" if trouble else "partial" if partial else "taken",
            items=items,
            error=trouble.message if trouble else partial,
            hint=trouble.hint if trouble else None,
            exit_code=trouble.exit_code if trouble else 0,
            server=planned.server,
            tool=planned.tool,
            findings=(*findings, small) if small else findings,
            seconds=max((item.seconds for item in items), default=0.0),
        )
