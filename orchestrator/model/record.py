"""What a run did, as data: it goes to the catalog, the report, the notification and `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from orchestrator.model.execution import Finding
from orchestrator.model.owner import Owner

Result = Literal["success", "attention", "partial", "failed", "interrupted", "refused"]
Severity = Literal["success", "info", "partial", "warning", "failed", "recovered"]


@dataclass(frozen=True)
class Event:
    """One thing worth remembering; `name` is noun.verb (run.succeeded, source.failed, retention.braked …)."""

    time: datetime
    name: str
    severity: Severity
    message: str
    run: str = ""
    service: str = ""
    source: str = ""
    repository: str = ""
    hint: str | None = None


@dataclass(frozen=True)
class ItemRecord:
    """One stored item of a source.

    part: paths|dumps|stream · path: inside the snapshot · bytes, sha256: of the stored file; sha256 is None for paths ·
    snapshot: restic's ID · seconds: how long its dump took · counts: objects and rows, from the dump's own snapshot
    where counts_exact · as_of: the instant whose state was dumped · owner: of the file that was dumped, for kinds that
    are one file.
    """

    name: str
    part: str
    path: str
    bytes: int
    sha256: str | None
    snapshot: str = ""
    seconds: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    counts_exact: bool = False
    as_of: datetime | None = None
    role: str = "data"
    extension: str = ""
    owner: Owner | None = None


@dataclass(frozen=True)
class SourceRecord:
    """How one source fared. state: taken|partial|failed, or skipped when this run was not asked for it."""

    name: str
    engine: str
    state: str
    items: tuple[ItemRecord, ...] = ()
    error: str = ""
    hint: str | None = None
    exit_code: int = 0
    server: str = ""
    tool: str = ""
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    image: str = ""


@dataclass(frozen=True)
class ServiceRecord:
    """One service and tier in one run.

    point: the restore point's ID, "" when none was committed · commit: restic ID · error, hint, exit_code: why nothing
    was committed.
    """

    service: str
    tier: str
    sources: tuple[SourceRecord, ...]
    point: str = ""
    time: datetime | None = None
    ended: datetime | None = None
    commit: str = ""
    snapshots: Mapping[str, str] = field(default_factory=dict)
    added: int = 0
    error: str = ""
    hint: str | None = None
    exit_code: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of all its stored items."""
        return sum(item.bytes for source in self.sources for item in source.items)


@dataclass(frozen=True)
class Forgotten:
    """What retention removed, with its reason. orphan: snapshots without a restore point; `point` is their place."""

    point: str
    repository: str
    snapshots: tuple[str, ...]
    reason: str
    orphan: bool = False


@dataclass(frozen=True)
class RepositoryRecord:
    """A repository's part in a run: new bytes, whether retention and check ran, and what they said."""

    name: str
    url: str
    added: int = 0
    retention: str = ""
    check: str = ""
    error: str = ""


@dataclass(frozen=True)
class RunRecord:
    """One execution of a command that acts. command: backup|prune|verify|restore|drill."""

    id: str
    command: str
    host: str
    started: datetime
    ended: datetime
    result: Result
    exit_code: int
    services: tuple[ServiceRecord, ...] = ()
    repositories: tuple[RepositoryRecord, ...] = ()
    forgotten: tuple[Forgotten, ...] = ()
    events: tuple[Event, ...] = ()
    error: str = ""
    hint: str | None = None
    restic_processes: int = 0


@dataclass(frozen=True)
class RestoredItem:
    """How one item came back. state: restored|failed|skipped · kept: where the replaced data is now."""

    source: str
    item: str
    point: str
    target: str
    state: str
    bytes: int = 0
    seconds: float = 0.0
    kept: str = ""
    error: str = ""
    hint: str | None = None
    exit_code: int = 0
    findings: tuple[Finding, ...] = field(default=())
