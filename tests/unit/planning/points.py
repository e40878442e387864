"""Points and rules for the tests of decisions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.model.point import Point, PointItem, PointSource, State


@dataclass(frozen=True)
class Rules:
    last: int | None = None
    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None
    within: str | None = None
    within_hourly: str | None = None
    within_daily: str | None = None
    within_weekly: str | None = None
    within_monthly: str | None = None
    within_yearly: str | None = None


def source(name: str, outcome: str = "taken", state: State = State.COMMITTED) -> PointSource:
    items = (PointItem("all", "dumps", "f" * 64, f"/{name}.all.sql", 100, "0" * 64),) if outcome != "failed" else ()
    error = "" if outcome == "taken" else f"{name} did not answer"
    return PointSource(name, "sqlite", outcome, items, error, state)


def point(
    time: datetime,
    *,
    service: str = "hub",
    tier: str = "default",
    partial: bool = False,
    damaged: bool = False,
    retired: bool = False,
    state: State = State.COMMITTED,
    sources: tuple[PointSource, ...] = (),
    repository: str = "local",
) -> Point:
    return Point(
        service=service,
        tier=tier,
        run=f"{time:%Y%m%dT%H%M%SZ}-{abs(hash(time)) % 0xFFFFFF:06x}",
        time=time,
        ended=time,
        state=state,
        repository=repository,
        partial=partial,
        damaged=damaged,
        retired=retired,
        sources=sources,
        snapshots={"commit": f"{time:%Y%m%d%H%M%S}".ljust(64, "0")},
    )
