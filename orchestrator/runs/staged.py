"""The lane of small dumps: dumped into a private folder side by side, then stored together by one restic."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic

from orchestrator.model.errors import DumpFailed, Interrupted
from orchestrator.model.execution import Outgrown
from orchestrator.model.failpoints import reach
from orchestrator.planning.backup import PlannedItem, PlannedSource
from orchestrator.runs.lane import Lane
from orchestrator.runs.store import STALL, store_staged, vouched
from orchestrator.runs.taken import Pair, key_of


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
class StagedLane:
    """The staged dumps of one restore point. outgrown: those that were too large after all · grants: of the budget."""

    lane: Lane
    stagers: ThreadPoolExecutor
    budget: Budget
    outgrown: list[Pair] = field(default_factory=list)
    grants: list[int] = field(default_factory=list)

    def store(self, staged: list[Pair]) -> None:
        """Dump all, store those that are good; what outgrew its room is streamed instead. Raises as `Lane.guarded`."""
        lane = self.lane
        try:
            with lane.box.here.staging(f"{lane.planned.service}/{lane.planned.tier}", lane.undo) as folder:
                reach("staging.made")
                raise_first([self._submit(folder, pair) for pair in staged])
                self._store(folder, staged)
        finally:
            for granted in self.grants:
                self.budget.give_back(granted)
        for source, item in self.outgrown:
            streamed = replace(item, route="stream")
            lane.guarded([(source, item)], partial(lane.stream, source, streamed))

    def _submit(self, folder: str, pair: Pair) -> Future[None]:
        return self.stagers.submit(self.lane.guarded, [pair], partial(self._stage, folder, *pair))

    def _store(self, folder: str, staged: list[Pair]) -> None:
        lane, items = self.lane, self.lane.taken.items
        planned = {key_of(*pair): pair for pair in staged}
        held = {key: items[key] for key in planned if key in items}
        if not held:
            return
        timeout = max(lane.clocks.left(source) for source, _ in staged)
        names = [planned[key][1].stored for key in held]
        sizes = sum(record.bytes for record in held.values())
        end = store_staged(lane.repository, folder, names, sizes, lane.tags("dumps"), lane.undo, timeout)
        reach("staging.stored")
        for key, record in held.items():
            items[key] = replace(record, snapshot=end.snapshot)
        lane.taken.snapshot("dumps", end)

    def _stage(self, folder: str, source: PlannedSource, item: PlannedItem) -> None:
        lane = self.lane
        path = os.path.join(folder, item.stored)
        granted = self.budget.take(item.item.bytes or 0)
        self.grants.append(granted)
        lane.moved.start(source)
        began, wall = monotonic(), lane.box.clock()
        engine = lane.box.engines[source.source.engine]
        with lane.clocks.running(source), engine.dump(item.item, lane.box.at(source.source), lane.undo) as dump:
            try:
                report = lane.box.stage(
                    dump.fd,
                    path,
                    dump.trailer,
                    cap=granted,
                    deadline=lane.clocks.left(source),
                    stall=STALL,
                    on_bytes=lambda done: lane.moved.update(source, item, done),
                )
            except Outgrown:
                self.outgrown.append((source, item))
                return
            try:
                end = vouched(report, dump.finish())
            except DumpFailed:
                os.unlink(path)
                raise
        lane.took(source, item, report, end, began, wall, path)
        reach("staging.dump.done")


def raise_first(futures: list[Future[None]]) -> None:
    """Wait for all; raise an interruption, else the first error, if there was one."""
    errors = [error for future in futures if (error := future.exception())]
    if errors:
        raise next((error for error in errors if isinstance(error, Interrupted)), errors[0])
