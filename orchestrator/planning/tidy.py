"""What retention would do in one repository, as data."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.model.point import Point
from orchestrator.planning.retention import Decision

Series = tuple[str, str, Decision]  # service, tier, and what is decided for their points


@dataclass(frozen=True)
class Orphan:
    """A snapshot without a restore point. ours: its run is known to be over here, so that it may go."""

    snapshots: tuple[str, ...]
    place: str
    ours: bool
    reason: str


@dataclass(frozen=True)
class RetentionPlan:
    """What retention would do in one repository, with reasons. brakes: why the guard would refuse."""

    repository: str
    series: tuple[Series, ...]
    orphans: tuple[Orphan, ...]
    gone: tuple[Point, ...]
    brakes: tuple[str, ...]
    retired: tuple[str, ...] = ()

    @property
    def removing(self) -> list[tuple[Point, str]]:
        """Return the points that go, with their reasons."""
        return [(removed.point, removed.reason) for _, _, decision in self.series for removed in decision.remove]
