"""A restore learns from the repository what its catalog lacks, and reads no more manifests than it needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.model.errors import RepositoryUnreachable
from orchestrator.model.repository import Snapshot
from orchestrator.planning.select import Choice, choose
from orchestrator.runs.catch_up import catch_up
from orchestrator.runs.toolbox import Toolbox
from tests.unit.runs.memory import NOW, MemoryRepository, manifest_of
from tests.unit.runs.test_new_ids import renamed
from tests.unit.runs.test_retention import filled, opened


def chosen(box: Toolbox, choice: Choice) -> str:
    (point,) = choose(box.catalog.points(service="shop"), choice)
    return point.run


def run_of(age: float) -> str:
    return manifest_of(age).run


@pytest.mark.parametrize(
    ("choice", "age", "read"),
    [
        (Choice(), 0, 1),
        (Choice(at=NOW - timedelta(days=2.5)), 3, 4),
        (Choice(point=run_of(3)[:9]), 3, 1),
    ],
)
def test_an_empty_catalog_learns_what_is_wished(tmp_path: Path, choice: Choice, age: float, read: int) -> None:
    repository = filled(6)
    with opened(tmp_path, repository) as box:
        (note,) = catch_up(box, "shop", choice)
        assert "that this machine did not know" in note
        assert chosen(box, choice) == run_of(age)
        assert len(repository.reads) == read
        assert catch_up(box, "shop", choice) == ()
        assert len(repository.reads) == read, "what is known is not read again"


def test_an_old_catalog_that_was_put_back_does_not_bring_old_data(tmp_path: Path) -> None:
    repository = MemoryRepository()
    repository.store(manifest_of(5))
    with opened(tmp_path, repository) as box:
        catch_up(box, "shop", Choice())
        assert chosen(box, Choice()) == run_of(5)
        for age in (3, 1):
            repository.store(manifest_of(age))
        assert len(catch_up(box, "shop", Choice())) == 1
        assert chosen(box, Choice()) == run_of(1)


def test_a_partial_newest_point_is_not_the_end_of_the_search(tmp_path: Path) -> None:
    repository = filled(3)
    repository.store(replace(manifest_of(-1), result="partial"))
    with opened(tmp_path, repository) as box:
        catch_up(box, "shop", Choice())
        assert [(point.run, point.whole) for point in box.catalog.points(service="shop")] == [
            (run_of(-1), False),
            (run_of(0), True),
        ]


def test_other_services_are_left_alone_and_copied_snapshots_are_found(tmp_path: Path) -> None:
    repository = filled(2)
    repository.store(manifest_of(0, "mail"))
    with opened(tmp_path, repository) as box:
        catch_up(box, "shop", Choice())
        assert {point.service for point in box.catalog.points()} == {"shop"}
        renamed(repository, "copied-")
        catch_up(box, "shop", Choice())
        (newest, *_) = box.catalog.points(service="shop")
        assert set(newest.snapshots.values()) <= set(repository.stored)


def test_a_repository_that_cannot_be_listed_is_said(tmp_path: Path) -> None:
    class Gone(MemoryRepository):
        def snapshots(self, undo: object) -> list[Snapshot]:
            raise RepositoryUnreachable("the disk is not mounted")

    with opened(tmp_path, Gone()) as box:
        (note,) = catch_up(box, "shop", Choice())
        assert "could not be listed" in note
        assert "the disk is not mounted" in note
