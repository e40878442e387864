"""What is looked at before a restore writes anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.model.errors import DiskFull
from orchestrator.model.point import PointItem, PointSource
from orchestrator.planning.restore import Living, RestorePlan, Where, plan_restore
from orchestrator.runs.restore_checks import enough_room
from orchestrator.runs.toolbox import Toolbox
from tests.unit.planning.points import point

NOW = datetime(2026, 11, 3, 9, tzinfo=UTC)


@dataclass
class Place:
    places: str


@dataclass
class Here:
    free: Callable[[str], int]
    real: Callable[[str], str] = os.path.realpath


@dataclass
class Box:
    here: Here
    engines: dict[str, Any]


def box(free: int) -> Toolbox:
    engines = {"sqlite": Place("path"), "postgresql": Place("server")}
    return cast("Toolbox", Box(Here(lambda _folder: free), engines))


def plan(where: Where, original: Path) -> RestorePlan:
    shop = PointSource("shop", "sqlite", "taken", (PointItem("x", "dumps", "f" * 64, "/s", 5 << 20, "0" * 64),))
    hub = PointSource("hub", "postgresql", "taken", (PointItem("/x", "dumps", "f" * 64, "/h", 9 << 30, "0" * 64),))
    living = {"shop": Living("path", {"x": str(original)}), "hub": Living("server", {})}
    return plan_restore("s", [point(NOW, sources=(shop, hub))], (), where, living, NOW)


def test_in_place_needs_room_for_both(tmp_path: Path) -> None:
    planned = plan(Where(in_place=True), tmp_path / "db" / "shop.db")
    with pytest.raises(DiskFull) as caught:
        enough_room(box((5 << 20) - 1), planned)
    assert caught.value.message == f"{tmp_path}: 5.0 MiB free, the restore needs 5.0 MiB"
    assert "--to" in str(caught.value.hint)
    enough_room(box(5 << 20), planned)  # what lies on a server is not counted


def test_a_new_folder_needs_room(tmp_path: Path) -> None:
    planned = plan(Where(to=str(tmp_path / "not" / "there")), tmp_path / "shop.db")
    with pytest.raises(DiskFull, match="0 B free"):
        enough_room(box(0), planned)
