"""Snapshots, locks and checks as restic prints them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from orchestrator.adapters.restic import lines
from orchestrator.adapters.restic.outcome import Outcome, raise_unless
from orchestrator.model.errors import ResguardoError
from orchestrator.model.repository import CheckEnd, Lock, Snapshot

_EPOCH = datetime.fromtimestamp(0, UTC)


def snapshots(ended: Outcome) -> list[Snapshot]:
    """Read `snapshots --json`. Raises the typed errors, and ResguardoError when restic printed something else."""
    raise_unless(ended)
    try:
        listed = json.loads(ended.stdout or "null")
    except ValueError as error:
        raise ResguardoError(f"the list of snapshots of {ended.where} cannot be read: {error}") from error
    if listed is None:
        return []
    if not isinstance(listed, list):
        raise ResguardoError(f"the list of snapshots of {ended.where} is not a list")
    return [_snapshot(one) for one in listed if isinstance(one, dict) and one.get("id")]


def _snapshot(one: Mapping[str, Any]) -> Snapshot:
    summary = one.get("summary")
    return Snapshot(
        id=str(one["id"]),
        time=lines.instant(one.get("time")) or _EPOCH,
        tree=str(one.get("tree") or ""),
        host=str(one.get("hostname") or ""),
        paths=_texts(one.get("paths")),
        tags=_texts(one.get("tags")),
        original=str(one["original"]) if one.get("original") else None,
        bytes=lines.number(summary, "total_bytes_processed") if isinstance(summary, Mapping) else None,
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(text) for text in value) if isinstance(value, Sequence) and not isinstance(value, str) else ()


def lock_ids(ended: Outcome) -> list[str]:
    """Read `list locks`: one ID a line."""
    raise_unless(ended)
    return [line.strip() for line in ended.stdout.split("\n") if line.strip()]


def lock(ended: Outcome, lock_id: str) -> Lock | None:
    """Read `cat lock ID`; None when it cannot be read any more: its owner removed it after it was listed."""
    if ended.code == 1:
        return None
    raise_unless(ended)
    try:
        read = json.loads(ended.stdout)
    except ValueError as error:
        raise ResguardoError(f"lock {lock_id[:8]} of {ended.where} cannot be read: {error}") from error
    return Lock(
        id=lock_id,
        time=lines.instant(read.get("time")) or _EPOCH,
        host=str(read.get("hostname") or ""),
        pid=lines.number(read, "pid"),
        exclusive=bool(read.get("exclusive")),
        user=str(read.get("username") or ""),
    )


def check(ended: Outcome) -> CheckEnd:
    """Read `check --json`. A damaged repository is a result, not an error of ours; a locked one (exit 11) is."""
    summary = lines.last_of(ended.stdout, "summary")
    if ended.exit.signal is not None or ended.ours or ended.code != 1 or summary is None:
        raise_unless(ended)
    said = [str(line.get("message")) for line in lines.objects(ended.stderr) if line.get("message_type") == "error"]
    if not said and (ended.code or (summary and lines.number(summary, "num_errors"))):
        said = [ended.meaning() or "restic check found errors"]
    return CheckEnd(tuple(said))
