"""What the lanes of one restore point bring, the time that their sources have, and the bytes that they moved."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from orchestrator.model.execution import Finding, Progress
from orchestrator.model.record import ItemRecord
from orchestrator.model.repository import BackupEnd
from orchestrator.planning.backup import PlannedItem, PlannedSource, Trouble

Key = tuple[str, str]  # source name, item name
Pair = tuple[PlannedSource, PlannedItem]


def key_of(source: PlannedSource, item: PlannedItem) -> Key:
    """Return under which key an item's record and trouble are kept."""
    return source.source.name, item.item.name


@dataclass
class Taken:
    """What the lanes brought: per item its record or its trouble, and the snapshots they made."""

    items: dict[Key, ItemRecord] = field(default_factory=dict)
    troubles: dict[Key, Trouble] = field(default_factory=dict)
    partial: dict[Key, Finding] = field(default_factory=dict)
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

    def troubled(self, concerned: list[Pair], trouble: Trouble) -> None:
        """Note that these items were not taken; the first trouble of an item is the one that counts."""
        for source, item in concerned:
            self.items.pop(key_of(source, item), None)
            self.troubles.setdefault(key_of(source, item), trouble)


class Clocks:
    """How much of its time limit each source has used: a clock runs only while one of the source's items is moved.

    An item that waits for its turn behind other sources' long dumps uses nothing of it.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._used: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self._moving: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def running(self, source: PlannedSource) -> Iterator[None]:
        """Let the source's clock run for the block; blocks of several items of a source may overlap."""
        name = source.source.name
        with self._lock:
            if not self._moving[name]:
                self._since[name] = self._now()
            self._moving[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._moving[name] -= 1
                if not self._moving[name]:
                    self._used[name] = self._used.get(name, 0.0) + self._now() - self._since.pop(name)

    def left(self, source: PlannedSource) -> float:
        """Return the seconds that a source has left; it has at least one, so that its end is a deadline's."""
        name = source.source.name
        with self._lock:
            now = self._now()
            used = self._used.get(name, 0.0) + now - self._since.get(name, now)
        return max(1.0, source.source.timeout - used)


class Moved:
    """The bytes that each source has moved: those of its items together, which move side by side."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done: dict[str, dict[str, int]] = {}
        self._lock = threading.Lock()

    def start(self, source: PlannedSource) -> None:
        """An item of this source begins to move; its line is shown from the first one on."""
        with self._lock:
            if source.source.id in self._done:
                return
            self._done[source.source.id] = {}
            self._progress.start(source.source.id, source.expected)

    def update(self, source: PlannedSource, item: PlannedItem, done: int) -> None:
        """`done` bytes of this item have moved."""
        with self._lock:
            items = self._done.setdefault(source.source.id, {})
            items[item.item.name] = done
            self._progress.update(source.source.id, sum(items.values()))
