"""`restic backup`: its arguments, its progress, and what its end means."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from orchestrator.adapters.restic import lines, outcome
from orchestrator.adapters.restic.command import Request
from orchestrator.adapters.restic.outcome import Outcome, raise_unless
from orchestrator.adapters.restic.retry import Running
from orchestrator.model.engine import PathSet
from orchestrator.model.errors import DumpFailed, ParentGone, Precondition, ResguardoError
from orchestrator.model.repository import BackupEnd, SnapshotTags

_LIST = "paths"
_GONE = ("no matching ID found", "failed to load snapshot", "multiple IDs with prefix")


def paths_request(
    paths: PathSet,
    tags: SnapshotTags,
    host: str,
    *,
    parent: str | None,
    deadline: float | None,
    on_bytes: Callable[[int], None] | None,
) -> Request:
    """Return the call that stores paths. Raises Precondition when there is none, or one that restic cannot take.

    Paths go through a NUL-separated list, the only one of restic's lists that every file name survives. Patterns go as
    arguments: a pattern file is trimmed, skips `#` and expands `$VAR`, an argument is taken as it is. Without `parent`
    restic takes the newest snapshot of this host and the very same paths, which is never wrong (a parent only tells
    which files to read again, by size, times and inode) and reads everything when there is none.
    """
    if not paths.paths or any("\0" in path or not path for path in paths.paths):
        raise Precondition("there is no path to store, or an empty one", "check `paths` in services.yml")
    args = ["backup", *_labels(tags, host), f"--files-from-raw={{room}}/{_LIST}"]
    args += [f"--parent={parent}"] if parent else []
    args += [f"--exclude={pattern}" for pattern in paths.excludes]
    args += [f"--exclude-if-present={marker}" for marker in paths.exclude_if_present]
    args += [f"--exclude-larger-than={paths.exclude_larger_than}"] if paths.exclude_larger_than else []
    args += ["--exclude-caches"] if paths.exclude_caches else []
    args += ["--one-file-system"] if paths.one_file_system else []
    data = b"".join(os.fsencode(path) + b"\0" for path in paths.paths)
    return Request("backup", args, deadline, locks=True, files={_LIST: data}, on_line=_listener(on_bytes))


def stream_request(
    filename: str, command: Sequence[str], tags: SnapshotTags, host: str, deadline: float | None
) -> Request:
    """Return the call that stores what `command` prints. The file name is flat: 0.18.0 fails on a directory in it."""
    if "/" in filename or not filename:
        raise ValueError(f"not a flat file name: {filename!r}")
    args = ["backup", *_labels(tags, host), f"--stdin-filename={filename}", "--stdin-from-command", "--", *command]
    return Request("backup", args, deadline, locks=True)


def _labels(tags: SnapshotTags, host: str) -> list[str]:
    rendered = tags.render()
    if broken := [tag for tag in rendered if "," in tag]:
        raise ValueError(f"restic splits tags at commas: {broken[0]!r}")
    return [f"--host={host}", *(f"--tag={tag}" for tag in rendered)]


def _listener(on_bytes: Callable[[int], None] | None) -> Callable[[bytes], None] | None:
    if on_bytes is None:
        return None

    def hear(line: bytes) -> None:
        status = lines.parse_object(line.decode("utf-8", "replace"))
        if status and status.get("message_type") == "status":
            on_bytes(lines.number(status, "bytes_done"))

    return hear


class PathsBackup:
    """A backup of paths under way, fulfilling the port `RunningBackup`."""

    def __init__(
        self, call: Running, paths: PathSet, parent: str | None, on_bytes: Callable[[int], None] | None = None
    ) -> None:
        self._call = call
        self._paths = paths
        self._parent = parent
        self._on_bytes = on_bytes

    def wait(self) -> BackupEnd:
        """Wait for its end. Raises ParentGone and the typed errors."""
        ended = self._call.wait()
        if ended.code == 1 and self._parent and any(words in ended.stderr for words in _GONE):
            raise ParentGone(f"the parent snapshot {self._parent} is gone from {ended.where}")
        raise_unless(ended, outcome.PARTIAL)
        end = read_end(ended, missing_of(self._paths.paths, ended.stderr))
        if self._on_bytes is not None:
            self._on_bytes(end.bytes)
        return end

    def poll(self) -> bool:
        """Whether it has ended."""
        return self._call.poll() is not None

    def stop(self) -> None:
        """Interrupt, then kill after 1 s, and reap; safe to call again."""
        self._call.stop()


class StreamBackup:
    """A backup of a stream under way, fulfilling the port `RunningBackup`; an empty one is no backup.

    The snapshot that restic saved of such a one is left to a later retention, which removes it once its run has no
    restore point (any more): forgetting needs an exclusive lock, and the restic of our own commit is alive.
    """

    def __init__(self, call: Running, filename: str) -> None:
        self._call = call
        self._filename = filename

    def wait(self) -> BackupEnd:
        """Wait for its end. Raises DumpFailed for a command that failed, an empty stream or one that broke off."""
        ended = self._call.wait()
        if _command_failed(ended):
            raise DumpFailed(f"{self._filename} was not stored in {ended.where}: {ended.meaning()}")
        raise_unless(ended, outcome.PARTIAL)
        end = read_end(ended, ())
        if ended.code == outcome.PARTIAL or end.partial or not end.bytes:
            why = "; ".join(reason for _, reason in end.unreadable) or "no data"
            raise DumpFailed(f"{self._filename} was not stored in {ended.where}: {why}")
        return end

    def poll(self) -> bool:
        """Whether it has ended."""
        return self._call.poll() is not None

    def stop(self) -> None:
        """Interrupt, then kill after 1 s, and reap; safe to call again."""
        self._call.stop()


def _command_failed(ended: Outcome) -> bool:
    """Whether the command that restic ran is what failed; restic names it in its last words."""
    if ended.ours:  # our signals reach the command as well
        return False
    words = lines.exit_message(ended.stderr)
    return ended.code == 1 and ("command failed" in words or "failed to start" in words)


def missing_of(paths: Sequence[str], stderr: str) -> tuple[tuple[str, str], ...]:
    """Return the given paths that restic skipped because they are gone: 0.18 says so and still exits 0."""
    return tuple((path, "does not exist") for path in paths if f"{path} does not exist, skipping" in stderr)


def read_end(ended: Outcome, missing: Sequence[tuple[str, str]]) -> BackupEnd:
    """Read the summary. Raises ResguardoError without one: exit 0 alone is no proof of a snapshot."""
    summary = lines.last_of(ended.stdout, "summary")
    snapshot = str(summary.get("snapshot_id") or "") if summary else ""
    if summary is None or not snapshot:
        raise ResguardoError(f"restic backup on {ended.where} ended with exit {ended.code} and names no snapshot")
    unreadable = (*missing, *lines.errors(ended.stderr))
    return BackupEnd(
        snapshot=snapshot,
        partial=ended.code == outcome.PARTIAL or bool(unreadable),
        unreadable=unreadable,
        files=lines.number(summary, "total_files_processed"),
        bytes=lines.number(summary, "total_bytes_processed"),
        added=lines.number(summary, "data_added_packed"),
        started=lines.instant(summary.get("backup_start")),
        seconds=float(summary.get("total_duration") or 0.0),
    )
