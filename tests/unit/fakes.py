"""Fakes of our ports for whole runs: streams that end well or badly, a repository that stores what was vouched for."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from orchestrator.model.engine import Data, DumpEnd, Facts, Item, Kept, Original, Restored, Source
from orchestrator.model.errors import DumpFailed, ResguardoError
from orchestrator.model.execution import Finding, StreamReport, Trailer
from orchestrator.model.repository import BackupEnd, CheckEnd, Snapshot, SnapshotTags
from orchestrator.runs.toolbox import Surroundings, Toolbox
from tests.unit.runs.memory import NOW, MemoryRepository, toolbox

CONTENT = b"the whole dump\n"


@dataclass
class FakeIntake:
    """A pump within this process: it reads the bytes, and they count once `commit` was said."""

    argv: list[str]
    data: bytes = b""
    verdict: bool = False
    waited: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def feed(self, fd: int, trailer: Trailer, **_: object) -> None:
        parts = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        self.data = b"".join(parts)

    def progress(self) -> int:
        return len(self.data)

    def report(self, **_: object) -> StreamReport:
        return StreamReport(len(self.data), hashlib.sha256(self.data).hexdigest(), waited=self.waited)

    def commit(self) -> None:
        self.verdict = True
        self.over.set()

    def abort(self) -> None:
        self.over.set()

    close = abort


@dataclass
class FakeBackup:
    """A restic under way: its end is known when the intake is over."""

    end: Callable[[], BackupEnd]
    over: threading.Event

    def wait(self) -> BackupEnd:
        self.over.wait(10)
        return self.end()

    def poll(self) -> bool:
        return self.over.is_set()

    def stop(self) -> None:
        self.over.set()


@dataclass
class FakeRepository(MemoryRepository):
    """Stores streams whose verdict was good. broken: what `check`, `forget` or a part's backup raises, by its name."""

    host: str = "hub-01"
    processes: int = 0
    broken: dict[str, ResguardoError] = field(default_factory=dict)
    damage: tuple[str, ...] = ()
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    intakes: dict[str, FakeIntake] = field(default_factory=dict)

    def intake(self, _undo: object) -> FakeIntake:
        made = FakeIntake([f"pump-{len(self.intakes)}"])
        self.intakes[made.argv[0]] = made
        return made

    def describe(self) -> str:
        return "/nowhere"

    def local_path(self) -> str | None:
        return None

    def version(self) -> str:
        return "0.18.0"

    def backup_stream(
        self, filename: str, command: Sequence[str], tags: SnapshotTags, undo: object, **_: object
    ) -> FakeBackup:
        intake = self.intakes[command[0]]
        self.calls.append(f"{tags.part} {tags.source}".strip())

        def end() -> BackupEnd:
            if tags.part in self.broken:
                raise self.broken[tags.part]
            if not intake.verdict:
                raise DumpFailed("restic dropped the snapshot")
            snapshot = f"{tags.part}-{tags.source}-{tags.run}"
            self.stored[snapshot] = Snapshot(snapshot, NOW, "", self.host, (), tags.render())
            self.files[snapshot, f"/{filename}"] = intake.data
            return BackupEnd(snapshot, files=1, bytes=len(intake.data), added=len(intake.data))

        return FakeBackup(end, intake.over)

    def snapshots(self, undo: object) -> list[Snapshot]:
        self.calls.append("snapshots")
        return super().snapshots(undo)

    def forget(self, ids: Sequence[str], undo: object, *, then: Sequence[str] = ()) -> Any:
        self.calls.append("forget")
        return super().forget(ids, undo, then=then)

    def prune(self, undo: object) -> None:
        self.calls.append("prune")

    def check(self, undo: object, *, data: str | None = None) -> CheckEnd:
        self.calls.append(f"check {data}")
        if "check" in self.broken:
            raise self.broken["check"]
        return CheckEnd(self.damage)

    def dump(self, snapshot: str, path: str, stdout: int, undo: object, **_: object) -> Any:
        os.write(stdout, self.files[snapshot, path])
        return _Over()


class _Over:
    """A read that has ended well."""

    def wait(self) -> None:
        """It is over."""

    stop = wait


@dataclass
class FakeDump:
    """A producer whose bytes are in the pipe already."""

    fd: int
    error: str = ""
    trailer: Trailer = field(default_factory=Trailer)

    def finish(self) -> DumpEnd:
        return DumpEnd(error=self.error)


@dataclass
class FakeEngine:
    """Streams CONTENT, but for the sources that fail; what was done is in `done`, in order.

    down: probes that fail · cut: dumps that end badly · raises: what a dump raises · wrong: restores that are not
    right · stuck: swaps that fail · halts: what a swap raises · fixed: what cannot be swapped.
    """

    name: str = "fake"
    down: Sequence[str] = ()
    cut: Sequence[str] = ()
    raises: Mapping[str, BaseException] = field(default_factory=dict)
    wrong: Sequence[str] = ()
    stuck: Sequence[str] = ()
    halts: Mapping[str, BaseException] = field(default_factory=dict)
    fixed: Sequence[str] = ()
    done: list[str] = field(default_factory=list)
    delivers: str = "stream"
    places: str = "server"
    Options: type[Any] = object

    def originals(self, source: Source) -> Mapping[str, str]:
        return {"all": f"live-{source.name}"}

    def original(self, item: Item, at: object) -> Original:
        found = [Finding("error", "it is a mount point")] if item.source.name in self.fixed else []
        return Original(findings=tuple(found))

    def probe(self, source: Source, at: object, undo: object) -> Facts:
        if source.name in self.down:
            raise ResguardoError(f"{source.name} does not answer")
        return Facts((Item(source, "all", "db"),))

    @contextmanager
    def dump(self, item: Item, at: object, undo: object) -> Iterator[FakeDump]:
        name = item.source.name
        if name in self.raises:
            raise self.raises[name]
        read, write = os.pipe()
        os.write(write, CONTENT)
        os.close(write)
        try:
            yield FakeDump(read, f"{name} was cut short" if name in self.cut else "")
        finally:
            os.close(read)

    def restore(self, item: Item, data: Data, to: str, at: object, undo: object) -> Restored:
        self.done.append(f"restore {item.source.name}")
        reader = threading.Thread(target=data.finish)
        reader.start()
        with os.fdopen(os.dup(data.fd), "rb") as stream:
            assert stream.read() == CONTENT
        reader.join()
        return Restored(to, beside=(Finding("warning", f"{to} is a copy"),))

    def verify(self, item: Item, to: str, expected: object, at: object, undo: object) -> Sequence[Finding]:
        self.done.append(f"verify {item.source.name}")
        return [Finding("error", "rows are missing")] if item.source.name in self.wrong else []

    def swap(self, item: Item, to: str, kept: str, at: object, undo: object) -> Kept:
        if item.source.name in self.stuck:
            raise ResguardoError(f"{item.source.name} is in use")
        if item.source.name in self.halts:
            raise self.halts[item.source.name]
        self.done.append(f"swap {item.source.name}")
        return Kept(kept)


@dataclass
class FakeProgress:
    """Shows nothing. open: sources that have begun and not ended · ended: how the others did."""

    open: set[str] = field(default_factory=set)
    ended: dict[str, str] = field(default_factory=dict)

    def start(self, source: str, expected: int | None = None) -> None:
        self.open.add(source)

    def update(self, source: str, done: int) -> None:
        """Nothing is shown."""

    def finish(self, source: str, state: str) -> None:
        self.open.discard(source)
        self.ended[source] = state

    def close(self) -> None:
        self.open.clear()


@dataclass
class FakeUndo:
    """A list of what must be undone, which nobody carries out."""

    problems: Sequence[str] = ()
    actions: list[object] = field(default_factory=list)

    def register(self, action: object) -> str:
        self.actions.append(action)
        return str(len(self.actions))

    def done(self, action_id: str) -> None:
        """Nothing to strike out."""

    def close(self) -> None:
        """Nothing was done."""


RULES = """{last: 3}
notify:
  channels: {ops: {url: {env: NONE}}}
  rules: [{on: [%s], to: [ops]}]
"""


def box_of(
    folder: Path, repository: FakeRepository, engine: FakeEngine, *sources: str, on: str = "failed, partial"
) -> Toolbox:
    """Return a toolbox for one service `shop` with these sources; rules tell the channel `ops` of the events `on`."""
    none = cast("Any", None)
    made = toolbox(folder, repository, rules=RULES % on)
    here = Surroundings(
        machine="machine",
        places={},
        free=lambda _path: 1 << 40,
        memory=lambda: 1 << 33,
        real=lambda path: path,
        staging=none,
        stage_free=lambda: 1 << 33,
    )
    undo = FakeUndo()
    ticks = iter(range(1 << 20))
    return replace(
        made,
        engines=cast("Any", {"fake": engine}),
        sources=tuple(Source("shop", name, "fake", "default", 60.0, None, none) for name in sources),
        open_intake=cast("Any", repository.intake),
        open_undo=cast("Any", lambda _run, _also: undo),
        here=here,
        progress=cast("Any", FakeProgress()),
        clock=lambda: datetime(2026, 6, 15, 12, tzinfo=UTC) + timedelta(seconds=next(ticks)),
        token=lambda: f"{next(ticks):06x}",
    )
