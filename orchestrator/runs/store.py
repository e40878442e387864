"""Ways into the repository: a stream behind a pump, staged dumps, paths, and the commit."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from orchestrator.model.engine import DumpEnd, PathSet
from orchestrator.model.errors import DataDamaged, DeadlineExceeded, DumpFailed, ParentGone, ResguardoError
from orchestrator.model.execution import Intake, StreamReport, Trailer, Undo
from orchestrator.model.failpoints import reach
from orchestrator.model.manifest import Manifest, encode
from orchestrator.model.names import MANIFEST_FILE
from orchestrator.model.repository import BackupEnd, Repository, RunningBackup, SnapshotTags
from orchestrator.runs.toolbox import Toolbox

STALL = 1800.0  # seconds without a byte after which a stream counts as frozen
COMMITTING = 1800.0  # seconds that restic has to save a commit, once it has the manifest
MANIFEST_TRAILER = Trailer(magic=b"{", footer=b"}", tail=16, min_bytes=2)


@dataclass
class Streaming:
    """A restic that stores what its pump gets. Its end is waited for in a thread, so that its death ends our waits."""

    intake: Intake
    backup: RunningBackup
    _end: BackupEnd | None = None
    _error: BaseException | None = None
    _thread: threading.Thread = field(default_factory=threading.Thread)

    @classmethod
    def start(
        cls, box: Toolbox, repository: Repository, filename: str, tags: SnapshotTags, undo: Undo, deadline: float | None
    ) -> Streaming:
        """Start restic with a pump as its command. deadline: seconds; None: whoever feeds it bounds every wait."""
        intake = box.open_intake(undo)
        try:
            backup = repository.backup_stream(filename, intake.argv, tags, undo, deadline=deadline)
        except BaseException:
            intake.close()
            raise
        streaming = cls(intake, backup)
        streaming._thread = threading.Thread(target=streaming._watch, name=f"watch-{filename}", daemon=True)
        streaming._thread.start()
        return streaming

    def _watch(self) -> None:
        try:
            self._end = self.backup.wait()
        except BaseException as error:  # noqa: BLE001 - carried to the thread that asks
            self._error = error
        finally:
            self.intake.abort()

    def feed(self, fd: int, trailer: Trailer, deadline: float) -> None:
        """Hand the bytes' descriptor to the pump. Raises restic's own error when it died first."""
        try:
            self.intake.feed(fd, trailer, deadline=deadline, ended=self.backup.poll)
        except ResguardoError:
            self.raise_restic()
            raise

    def report(self, deadline: float) -> StreamReport:
        """Wait for the end of the bytes."""
        try:
            return self.intake.report(deadline=deadline, stall=min(STALL, deadline))
        except ResguardoError:
            self.raise_restic()
            raise

    def raise_restic(self) -> None:
        """Raise what restic said, if it has ended by itself with an error."""
        self._thread.join(timeout=2.0)
        if self._error is not None and not self._thread.is_alive():
            raise self._error

    def verdict(self) -> None:
        """Let the pump end well: from here on restic saves the snapshot."""
        self.intake.commit()

    def saved(self, within: float | None = None) -> BackupEnd:
        """Wait for restic to have saved the snapshot, at most `within` seconds. Raises DeadlineExceeded, DumpFailed."""
        self._thread.join(within)
        if self._thread.is_alive():
            raise DeadlineExceeded(
                f"restic did not save the snapshot within {within:g} s of having all of it",
                "look at what the repository's server or disk is doing",
            )
        if self._error is not None:
            raise self._error
        if self._end is None or self._end.partial:
            raise DumpFailed("restic ended without a whole snapshot of the stream")
        return self._end

    def abort(self) -> None:
        """End without a snapshot; safe after commit too."""
        self.intake.abort()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)
        self.backup.stop()
        self._thread.join()
        self.intake.close()


def store_stream(
    box: Toolbox,
    repository: Repository,
    filename: str,
    tags: SnapshotTags,
    undo: Undo,
    dump: Callable[[], tuple[int, Trailer, Callable[[], DumpEnd]]],
    timeout: float,
    on_bytes: Callable[[int], None],
) -> tuple[StreamReport, DumpEnd, BackupEnd]:
    """Store one dump as a stream; the snapshot exists only when the dump's end and its bytes are vouched for.

    `dump` starts the producer and gives (fd, trailer, finish). Raises DumpFailed, DeadlineExceeded and restic's errors.
    """
    until = monotonic() + timeout
    streaming = Streaming.start(box, repository, filename, tags, undo, timeout + 60)
    try:
        reach("stream.started")
        fd, trailer, finish = dump()
        streaming.feed(fd, trailer, max(1.0, until - monotonic()))
        reach("stream.fed")
        with _watched(streaming.intake, on_bytes):
            report = streaming.report(max(1.0, until - monotonic()))
        reach("stream.reported")
        end = vouched(report, finish())
        streaming.verdict()
        reach("stream.verdict")
        stored = streaming.saved()
    finally:
        streaming.abort()
    if stored.bytes != report.bytes:
        raise DataDamaged(f"restic stored {stored.bytes} bytes of a stream of {report.bytes}")
    return report, end, stored


class _watched:  # noqa: N801 - reads as a with-statement
    """Tells a listener the bytes copied so far, twice a second, while a stream runs."""

    def __init__(self, intake: Intake, on_bytes: Callable[[int], None]) -> None:
        self._intake, self._on_bytes = intake, on_bytes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="progress", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _tell(self) -> None:
        while not self._over.wait(0.5):
            self._on_bytes(self._intake.progress())


def vouched(report: StreamReport, end: DumpEnd) -> DumpEnd:
    """Return `end` when producer and pump agree that the dump is whole; else raise DumpFailed with the reason."""
    if end.error:
        raise DumpFailed(end.error, next((finding.hint for finding in end.findings if finding.hint), None))
    if report.problem:
        raise DumpFailed(report.problem)
    if report.bytes == 0:
        raise DumpFailed("the dump is empty")
    if end.bytes is not None and end.bytes != report.bytes:
        raise DumpFailed(f"the producer wrote {end.bytes} bytes, {report.bytes} arrived")
    if end.sha256 is not None and end.sha256 != report.sha256:
        raise DumpFailed("the bytes that arrived are not those that the producer wrote")
    return end


def store_paths(
    repository: Repository,
    paths: PathSet,
    tags: SnapshotTags,
    undo: Undo,
    *,
    parent: str | None,
    timeout: float,
    on_bytes: Callable[[int], None],
) -> BackupEnd:
    """Store paths; once more without the parent when that is gone."""
    try:
        return _store_once(repository, paths, tags, undo, parent, timeout, on_bytes)
    except ParentGone:
        return _store_once(repository, paths, tags, undo, None, timeout, on_bytes)


def _store_once(
    repository: Repository,
    paths: PathSet,
    tags: SnapshotTags,
    undo: Undo,
    parent: str | None,
    timeout: float,
    on_bytes: Callable[[int], None],
) -> BackupEnd:
    running = repository.backup_paths(paths, tags, undo, parent=parent, deadline=timeout, on_bytes=on_bytes)
    try:
        reach("paths.started")
        return running.wait()
    finally:
        running.stop()


def store_staged(
    repository: Repository,
    folder: str,
    names: Sequence[str],
    sizes: int,
    tags: SnapshotTags,
    undo: Undo,
    timeout: float,
) -> BackupEnd:
    """Store a staging directory; what restic counted must be what was staged.

    A staging directory that vanishes under a live restic ends in exit code 0 and an empty snapshot. Such a snapshot is
    left to retention: forgetting needs an exclusive lock, and the commit's restic is alive.
    """
    end = store_paths(
        repository, PathSet((folder,)), tags, undo, parent=None, timeout=timeout, on_bytes=lambda _done: None
    )
    if end.partial or end.files != len(names) or end.bytes != sizes:
        raise DataDamaged(f"restic stored {end.files} files, {end.bytes} bytes of {len(names)} staged, {sizes} bytes")
    return end


class Commit:
    """The commit of one restore point: started first, fed last.

    Its restic has no deadline: it waits as long as the point's sources take, which wait for their turn behind those of
    other points. From the manifest on every wait has one.
    """

    def __init__(self, box: Toolbox, repository: Repository, tags: SnapshotTags, undo: Undo) -> None:
        self._streaming = Streaming.start(box, repository, MANIFEST_FILE, tags, undo, None)
        reach("commit.started")

    def finish(self, manifest: Manifest) -> BackupEnd:
        """Store the manifest. Raises when restic could not; then there is no restore point."""
        data = encode(manifest)
        fd = os.memfd_create("manifest", os.MFD_CLOEXEC)
        try:
            os.write(fd, data)
            os.lseek(fd, 0, os.SEEK_SET)
            self._streaming.feed(fd, MANIFEST_TRAILER, 300.0)
            reach("manifest.fed")
            report = self._streaming.report(300.0)
        finally:
            os.close(fd)
        if report.problem or report.bytes != len(data):
            raise DataDamaged(f"the manifest did not arrive whole: {report.problem or report.bytes}")
        self._streaming.verdict()
        reach("manifest.verdict")
        end = self._streaming.saved(COMMITTING)
        reach("commit.stored")
        return end

    def abort(self) -> None:
        """Leave no commit behind; safe after finish."""
        self._streaming.abort()
