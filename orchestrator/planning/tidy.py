"""What retention would do in one repository, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.model.point import Point
from orchestrator.planning.retention import Decision, decide

if TYPE_CHECKING:  # it brings pydantic, which those who only print a plan do not need
    from orchestrator.policy.ruleset import RuleSet

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
    """What retention would do in one repository, with reasons.

    gone: points that the catalog knows and the repository lists no longer · brakes: why the guard would refuse ·
    foreign: restic IDs of snapshots that only another version of this program can read · lacks: how many snapshots of
    known points are not listed.
    """

    repository: str
    series: tuple[Series, ...]
    orphans: tuple[Orphan, ...]
    gone: tuple[Point, ...]
    brakes: tuple[str, ...]
    retired: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    lacks: int = 0

    @property
    def removing(self) -> list[tuple[Point, str]]:
        """Return the points that go, with their reasons."""
        return removed(self.series)


def decide_all(points: Sequence[Point], rules: RuleSet, now: datetime) -> tuple[Series, ...]:
    """Decide over the points of one repository, each service and tier by itself."""
    series: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        series.setdefault((point.service, point.tier), []).append(point)
    return tuple(
        (service, tier, decide(found, rules.of_tier(tier), now, rules.zone, keep_proven=rules.keep_proven))
        for (service, tier), found in sorted(series.items())
    )


def removed(series: Sequence[Series]) -> list[tuple[Point, str]]:
    """Return the points that go, with their reasons."""
    return [(gone.point, gone.reason) for _, _, decision in series for gone in decision.remove]
