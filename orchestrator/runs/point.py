"""Make one restore point: its lanes side by side, its commit last."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from orchestrator.model.errors import DumpFailed, Interrupted, ResguardoError
from orchestrator.model.execution import Undo
from orchestrator.model.manifest import Manifest
from orchestrator.model.names import point_id
from orchestrator.model.record import ServiceRecord, SourceRecord
from orchestrator.model.repository import Repository
from orchestrator.planning.backup import PlannedPoint, PlannedSource, Trouble, shrunk
from orchestrator.runs.lane import Lane
from orchestrator.runs.outside import explained
from orchestrator.runs.recording import manifest_of
from orchestrator.runs.staged import Budget, StagedLane, raise_first
from orchestrator.runs.store import Commit
from orchestrator.runs.taken import Clocks, Moved, Taken
from orchestrator.runs.toolbox import Toolbox


@dataclass(frozen=True)
class Made:
    """A service's record, and the manifest as it was committed; None when there is no restore point."""

    record: ServiceRecord
    manifest: Manifest | None = None


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

    def make(self) -> Made:
        """Store all sources and commit what was taken; a source that fails is marked and does not stop the others.

        Raises Interrupted only; everything else is in the record.
        """
        taken = Taken()
        if not any(source.items and not source.trouble for source in self.planned.sources):
            return Made(self._record(taken, "", None, DumpFailed("no source could be stored")))
        commit = None
        try:
            lane = self._lane(taken)
            commit = Commit(self.box, self.repository, lane.tags("commit"), self.undo)
            self._gather(lane)
            if not taken.items:
                return Made(self._record(taken, "", None, DumpFailed("no source could be stored")))
            ended = self.box.clock()
            manifest = manifest_of(self.box, self._record(taken, "", ended), self.run)
            end = commit.finish(manifest)
            taken.snapshot("commit", end)
            return Made(self._record(taken, end.snapshot, ended), manifest)
        except Interrupted:
            raise
        except ResguardoError as error:
            return Made(self._record(taken, "", None, error))
        except OSError as error:
            return Made(self._record(taken, "", None, explained(error)))
        finally:
            if commit:
                commit.abort()

    def _lane(self, taken: Taken) -> Lane:
        moved = Moved(self.box.progress)
        return Lane(self.box, self.repository, self.planned, self.run, self.undo, taken, Clocks(), moved)

    def _gather(self, lane: Lane) -> None:
        streams, paths = self.planned.items("stream"), self.planned.items("paths")
        futures = [self.lanes.submit(lane.guarded, [pair], partial(lane.stream, *pair)) for pair in streams]
        futures += [self.lanes.submit(lane.guarded, [pair], partial(lane.paths, *pair)) for pair in paths]
        if staged := self.planned.items("staged"):
            small = StagedLane(lane, self.stagers, self.budget)
            futures.append(self.lanes.submit(lane.guarded, staged, partial(small.store, staged)))
        raise_first(futures)

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
        doubts = [taken.partial[key] for key in keys if key in taken.partial]
        partial = "; ".join(doubt.message for doubt in doubts)
        findings = (*planned.findings, *(finding for key in keys for finding in taken.findings.get(key, ())))
        small = None if trouble else shrunk(sum(item.bytes for item in items), planned.history)
        return SourceRecord(
            name=name,
            engine=planned.source.engine,
            state=_state(planned, trouble, partial),
            items=items,
            error=trouble.message if trouble else partial,
            hint=trouble.hint if trouble else next((doubt.hint for doubt in doubts if doubt.hint), None),
            exit_code=trouble.exit_code if trouble else 0,
            server=planned.server,
            image=planned.image,
            tool=planned.tool,
            findings=(*findings, small) if small else findings,
            seconds=max((item.seconds for item in items), default=0.0),
        )


def _state(planned: PlannedSource, trouble: Trouble | None, partial: str) -> str:
    if not planned.wanted:
        return "skipped"
    return "failed" if trouble else "partial" if partial else "taken"
