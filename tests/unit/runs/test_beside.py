"""A repository on the disk that it saves is worth a warning."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.engines import load
from orchestrator.engines.files import Options
from orchestrator.model.engine import Source
from orchestrator.runs.beside import beside_data
from orchestrator.runs.toolbox import Toolbox
from tests.unit.fakes import FakeEngine, FakeRepository, box_of


@dataclass
class LocalRepository(FakeRepository):
    place: str | None = None

    def local_path(self) -> str | None:
        return self.place


def files_box(folder: Path, *paths: str) -> Toolbox:
    box = box_of(folder, FakeRepository(), FakeEngine())
    source = Source("home", "files", "files", "default", 60.0, Options(paths=list(paths)), cast("Any", None))
    return replace(box, engines={"files": load("files")}, sources=(source,))


def test_a_repository_beside_the_data_is_told_with_the_paths(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    box = files_box(tmp_path, "/proc", str(data))
    (found,) = beside_data(box, cast("Any", LocalRepository(place=str(tmp_path / "var" / "not yet there"))))
    assert found.level == "warning"
    assert f"is on the same file system as {str(data)!r}: a lost disk takes both" in found.message
    assert "another disk" in str(found.hint)


@pytest.mark.parametrize("place", [None, "/proc/self"])
def test_a_repository_elsewhere_is_no_trouble(tmp_path: Path, place: str | None) -> None:
    assert os.stat("/proc").st_dev != os.stat(tmp_path).st_dev
    assert beside_data(files_box(tmp_path, str(tmp_path)), cast("Any", LocalRepository(place=place))) == ()


def test_what_a_server_keeps_has_no_place_that_is_known(tmp_path: Path) -> None:
    box = box_of(tmp_path, FakeRepository(), FakeEngine(), "main")
    assert beside_data(box, cast("Any", LocalRepository(place=str(tmp_path)))) == ()
