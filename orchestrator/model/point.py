"""Restore points: what was committed, and how far each is proven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from orchestrator.model.names import point_id
from orchestrator.model.owner import Owner


class State(IntEnum):
    """How far a restore point has come; a state is written only by code that read this point's bytes.

    FAILED nothing usable · TAKEN bytes stored · COMMITTED every source taken and the commit is there · CHECKED all its
    bytes read back, digests equal · RESTORED every source restored, engine verify clean · PROVEN a drill passed.
    """

    FAILED = 0
    TAKEN = 1
    COMMITTED = 2
    CHECKED = 3
    RESTORED = 4
    PROVEN = 5

    @property
    def word(self) -> str:
        """The word that people read."""
        return self.name.lower()


@dataclass(frozen=True)
class PointItem:
    """One stored item of a point.

    part: paths|dumps|stream · snapshot: restic's ID in the repository asked · path: inside the snapshot ·
    bytes, sha256: of the stored file; sha256 is None for paths · counts: objects and rows at dump time ·
    owner: of the file that was dumped, where it is one file.
    """

    name: str
    part: str
    snapshot: str
    path: str
    bytes: int
    sha256: str | None
    role: str = "data"
    extension: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    owner: Owner | None = None


@dataclass(frozen=True)
class PointSource:
    """One source of a point. `outcome` is taken|partial|failed."""

    name: str
    engine: str
    outcome: str
    items: tuple[PointItem, ...]
    error: str = ""
    state: State = State.TAKEN


@dataclass(frozen=True)
class Point:
    """A restore point of one repository: one service and tier in one run.

    time: the earliest data in it, UTC · state: the lowest of its sources' · partial: a source failed or is partial ·
    damaged: a check found it so, or it is lost · lost: its repository does not list all its snapshots · retired: its
    service is no longer in services.yml · snapshots: part key → restic ID, the commit under "commit" · host: the
    policy's name of the host whose point it is.
    """

    service: str
    tier: str
    run: str
    time: datetime
    ended: datetime
    state: State
    repository: str
    partial: bool = False
    damaged: bool = False
    lost: bool = False
    retired: bool = False
    sources: tuple[PointSource, ...] = ()
    snapshots: Mapping[str, str] = field(default_factory=dict)
    bytes: int = 0
    host: str = ""

    @property
    def id(self) -> str:
        """`service.tier@run`."""
        return point_id(self.service, self.tier, self.run)

    @property
    def whole(self) -> bool:
        """Whether retention may count it: committed, nothing failed or partial, not damaged."""
        return self.state >= State.COMMITTED and not self.partial and not self.damaged
