"""The lanes of one restore point: a dump as a stream, and paths. Staged dumps have a module of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic

from orchestrator.model.engine import DumpEnd, PathSet
from orchestrator.model.errors import Interrupted, ResguardoError
from orchestrator.model.execution import Finding, StreamReport, Trailer, Undo
from orchestrator.model.failpoints import reach
from orchestrator.model.names import encode_item
from orchestrator.model.record import ItemRecord
from orchestrator.model.repository import BackupEnd, Part, Repository, SnapshotTags
from orchestrator.planning.backup import PlannedItem, PlannedPoint, PlannedSource, Trouble, slow_repository
from orchestrator.runs.emptied import emptied, remember
from orchestrator.runs.outside import explained
from orchestrator.runs.store import store_paths, store_stream
from orchestrator.runs.taken import Clocks, Moved, Pair, Taken, key_of
from orchestrator.runs.toolbox import Toolbox


@dataclass(frozen=True)
class Lane:
    """What the lanes of one restore point share; each of its methods may run in several threads."""

    box: Toolbox
    repository: Repository
    planned: PlannedPoint
    run: str
    undo: Undo
    taken: Taken
    clocks: Clocks
    moved: Moved

    def tags(self, part: Part, source: str = "", item: str = "") -> SnapshotTags:
        """Return the tags of a snapshot of this point."""
        return SnapshotTags(self.planned.service, self.planned.tier, self.run, part, source, item)

    def guarded(self, concerned: list[Pair], work: Callable[[], None]) -> None:
        """Do a lane's work; its failure becomes the trouble of the items that it carried. Raises Interrupted."""
        try:
            work()
        except Interrupted:
            raise
        except (ResguardoError, OSError) as error:
            known = error if isinstance(error, ResguardoError) else explained(error)
            self.taken.troubled(concerned, Trouble(known.message, known.hint, known.exit_code))

    def stream(self, source: PlannedSource, item: PlannedItem) -> None:
        """Store one dump as a stream of its own."""
        engine = self.box.engines[source.source.engine]
        self.moved.start(source)
        began, wall = monotonic(), self.box.clock()
        with self.clocks.running(source), ExitStack() as stack:

            def dump() -> tuple[int, Trailer, Callable[[], DumpEnd]]:
                dumping = stack.enter_context(engine.dump(item.item, self.box.at(source.source), self.undo))
                return dumping.fd, dumping.trailer, dumping.finish

            report, end, stored = store_stream(
                self.box,
                self.repository,
                item.stored,
                self.tags("stream", source.source.name, encode_item(item.item.name)),
                self.undo,
                dump,
                self.clocks.left(source),
                lambda done: self.moved.update(source, item, done),
            )
        slow = slow_repository(report.waited, monotonic() - began, self.repository.name)
        end = replace(end, findings=(*end.findings, slow)) if slow else end
        self.took(source, item, report, end, began, wall, f"/{item.stored}", stored.snapshot)
        self.taken.snapshot(f"stream:{source.source.name}:{item.item.name}", stored)

    def took(
        self,
        source: PlannedSource,
        item: PlannedItem,
        report: StreamReport,
        end: DumpEnd,
        began: float,
        wall: datetime,
        path: str,
        snapshot: str = "",
    ) -> None:
        """Note a dump that was taken."""
        key = key_of(source, item)
        self.taken.items[key] = ItemRecord(
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
        self.taken.findings[key] = tuple(end.findings)
        self.taken.starts.append(end.as_of or wall)

    def paths(self, source: PlannedSource, item: PlannedItem) -> None:
        """Let restic read a source's paths."""
        self.moved.start(source)
        began, wall = monotonic(), self.box.clock()
        with self.clocks.running(source):
            end = store_paths(
                self.repository,
                item.paths or PathSet(()),
                self.tags("paths"),
                self.undo,
                parent=self.planned.parent,
                timeout=self.clocks.left(source),
                on_bytes=lambda done: self.moved.update(source, item, done),
            )
        reach("paths.stored")
        key, taken = key_of(source, item), self.taken
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
        elif item.paths:
            remember(self.box, source.source, item.paths.paths)
        if item.paths:
            taken.findings[key] = item.paths.findings
        taken.snapshot("paths", end)
        taken.starts.append(end.started or wall)

    def _doubt(self, source: PlannedSource, item: PlannedItem, end: BackupEnd) -> Finding | None:
        """Say why what restic read may not be all that the source holds, None where there is no doubt."""
        if not end.files and source.history and source.history.bytes:
            return Finding("error", "no file was found, where there were some before; is it not mounted?")
        lacking = item.paths.lacking if item.paths else ()
        doubts = [*lacking, *self._changed(source, item, lacking)]
        if item.paths and not doubts:
            doubts += emptied(self.box, source.source, item.paths.paths)
        if end.partial:
            shown = ", ".join(path for path, _ in end.unreadable[:5])
            more = f" and {len(end.unreadable) - 5} more" if len(end.unreadable) > 5 else ""
            doubts.append(Finding("error", f"could not be read: {shown or 'some files'}{more}"))
        if not doubts:
            return None
        hint = next((doubt.hint for doubt in doubts if doubt.hint), None)
        return Finding("error", "; ".join(doubt.message for doubt in doubts), hint)

    def _changed(self, source: PlannedSource, item: PlannedItem, before: Sequence[Finding]) -> list[Finding]:
        # Looked at again: a path may have been replaced by a link, or taken away, after the probe.
        try:
            found = self.box.engines[source.source.engine].paths(item.item).lacking
        except ResguardoError as error:
            return [Finding("error", f"changed while it was read: {error.message}")]
        new = [each for each in found if each not in before]
        return [replace(each, message=f"changed while it was read: {each.message}", hint=None) for each in new]
