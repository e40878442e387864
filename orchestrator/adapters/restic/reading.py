"""Bytes on their way back: `restic dump`, `restic restore`, and a small file read whole. None takes a lock."""

from __future__ import annotations

import os
from collections.abc import Sequence

from orchestrator.adapters.restic import lines
from orchestrator.adapters.restic.command import STALL, Request
from orchestrator.adapters.restic.outcome import Outcome, classify, raise_unless
from orchestrator.adapters.restic.retry import Running
from orchestrator.model.errors import DataDamaged, ResguardoError, RestoreFailed
from orchestrator.model.repository import RestoreEnd

READ_DEADLINE = 600.0


def dump_request(snapshot: str, path: str, stdout: int) -> Request:
    """Return the call that writes one stored file to `stdout`.

    It may take as long as its reader does: a database that builds its indexes reads nothing for hours. Whether restic
    stands still is for the reader to say.
    """
    return Request("dump", ["dump", "--no-lock", "--", snapshot, path], None, stdout=stdout)


def read_request(snapshot: str, path: str, limit: int) -> Request:
    """Return the call that writes one stored file to a file of ours."""
    return Request("dump", ["dump", "--no-lock", "--", snapshot, path], READ_DEADLINE, limit=limit)


def restore_request(
    snapshot: str,
    target: str,
    *,
    include: Sequence[str],
    exclude: Sequence[str],
    verify: bool,
) -> Request:
    """Return the call that restores below `target`; patterns go as arguments, taken as they are."""
    args = ["restore", "--no-lock", f"--target={target}"]
    args += [f"--include={pattern}" for pattern in include]
    args += [f"--exclude={pattern}" for pattern in exclude]
    args += ["--verify"] if verify else []
    return Request("restore", [*args, "--", snapshot], None, stall=STALL)


class Read:
    """A `restic dump` under way, fulfilling the port `RunningRead`."""

    def __init__(self, call: Running, snapshot: str, path: str) -> None:
        self._call = call
        self._named = f"{path!r} of snapshot {snapshot[:8]}"

    def wait(self) -> None:
        """Wait for its end. Raises DataDamaged when the bytes are not all right, and the typed errors."""
        raise_unless_whole(self._call.wait(), self._named)

    def stop(self) -> None:
        """Stop and reap it; safe to call again."""
        self._call.stop()


def raise_unless_whole(ended: Outcome, named: str) -> None:
    """Raise DataDamaged where only exit 1 (or the old 2) is known: what was written is a prefix at best."""
    if ended.exit.signal is None and ended.code in (1, 2) and type(classify(ended)) is ResguardoError:
        raise DataDamaged(f"{named} cannot be read from {ended.where}: {ended.meaning()}", "run `resguardo verify`")
    raise_unless(ended)


def whole_file(ended: Outcome, named: str, limit: int) -> bytes:
    """Return what a dump wrote to our file. Raises DataDamaged when it is longer than `limit`."""
    data = os.fsencode(ended.stdout)
    if len(data) > limit:  # first: the watch stops such a process
        raise DataDamaged(f"{named} is longer than {limit} bytes")
    raise_unless_whole(ended, named)
    return data


def restore_end(ended: Outcome) -> RestoreEnd:
    """Read how a restore ended. Files that failed are in `errors`; raises RestoreFailed when it failed as a whole."""
    summary = lines.last_of(ended.stdout, "summary") or {}
    errors = tuple(lines.errors(ended.stderr))
    if ended.exit.signal is not None or ended.ours or ended.code not in (0, 1) or (ended.code and not errors):
        error = classify(ended)
        raise RestoreFailed(error.message, error.hint) if type(error) is ResguardoError else error
    return RestoreEnd(
        files=lines.number(summary, "files_restored"),
        bytes=lines.number(summary, "bytes_restored"),
        errors=errors,
        seconds=float(summary.get("seconds_elapsed") or 0.0),
    )
