"""Where databases come back whose folder comes back too, and the order of the swaps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.model.errors import Precondition
from orchestrator.model.point import PointItem, PointSource
from orchestrator.planning.restore import Living, RestorePlan, Where, plan_restore
from orchestrator.runs.restore_places import placed, swap_order
from orchestrator.runs.toolbox import Toolbox
from tests.unit.planning.points import point
from tests.unit.runs.test_restore_checks import Here, Place

NOW = datetime(2026, 11, 3, 9, tzinfo=UTC)
STAMP = "20261103T090000Z"


@dataclass
class Options:
    paths: list[str]


@dataclass
class Configured:
    name: str
    options: object
    service: str = "s"


@dataclass
class Box:
    here: Here
    engines: dict[str, Any]
    sources: list[Configured]


def box(folder: Path) -> Toolbox:
    files = Configured("files", Options([f"{folder}/data/deep", f"{folder}/data"]))
    return cast("Toolbox", Box(Here(lambda _: 0), {"sqlite": Place("path"), "postgresql": Place("server")}, [files]))


def item(name: str, part: str) -> PointItem:
    return PointItem(name, part, "f" * 64, "/", 1, None if part == "paths" else "0" * 64)


def plan(folder: Path, *sources: str) -> RestorePlan:
    """Two databases of one name lie in the files' folder, `out` beside it, `hub` in a server."""
    known = {
        "one": (Living("path", {"x": f"{folder}/data/one/x.db"}), "sqlite", "dumps"),
        "two": (Living("path", {"x": f"{folder}/data/deep/x.db"}), "sqlite", "dumps"),
        "out": (Living("path", {"x": f"{folder}/x.db"}), "sqlite", "dumps"),
        "hub": (Living("server", {}), "postgresql", "dumps"),
        "files": (Living("path", {"x": f"{folder}/data"}), "files", "paths"),
    }
    made = tuple(PointSource(name, known[name][1], "taken", (item("x", known[name][2]),)) for name in sources)
    living = {name: known[name][0] for name in sources}
    return plan_restore("s", [point(NOW, sources=made)], (), Where(in_place=True), living, NOW)


def test_what_lies_in_a_folder_that_is_swapped_is_made_beside_it(tmp_path: Path) -> None:
    found = placed(box(tmp_path), "s", plan(tmp_path, "one", "two", "out", "hub", "files"))
    targets = {step.source.name: step.target for step in found.steps}
    assert targets["one"] == f"{tmp_path}/.x.db.restoring-{STAMP}-one"
    assert targets["two"] == f"{tmp_path}/.x.db.restoring-{STAMP}-two"
    assert targets["out"] == f"{tmp_path}/.x.db.restoring-{STAMP}"
    assert targets["hub"] == f"x_restored_{STAMP}"
    assert found.steps[0].source.name == "files"
    assert [step.source.name for _, step in swap_order(found)] == ["out", "hub", "files", "one", "two"]
    assert [found.steps[place] for place, _ in swap_order(found)] == [step for _, step in swap_order(found)]


def test_a_lost_folder_that_nothing_brings_back_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Precondition, match="data/one': no such directory") as caught:
        placed(box(tmp_path), "s", plan(tmp_path, "one"))
    assert caught.value.hint == "leave out --source: the files of the service bring it back"
    (tmp_path / "data" / "one").mkdir(parents=True)
    alone = placed(box(tmp_path), "s", plan(tmp_path, "one"))
    assert alone.steps[0].target == f"{tmp_path}/data/one/.x.db.restoring-{STAMP}"
