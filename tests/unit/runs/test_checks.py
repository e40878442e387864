"""Checks of a repository: what damage is remembered until it is disproved, and what a lock means."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from orchestrator.model.errors import RepositoryLocked
from orchestrator.model.execution import Undo
from orchestrator.runs import verify
from tests.unit.fakes import FakeEngine, FakeRepository, box_of

UNDO = cast("Undo", None)


def test_damage_of_one_part_outlives_a_clean_look_at_another(tmp_path: Path) -> None:
    repository = FakeRepository()
    box = box_of(tmp_path, repository, FakeEngine(), "a")
    here = box.repositories["local"]

    def check(part: str, *damage: str) -> str:
        repository.damage = damage
        verify.verify(box, data=part, point=None, wait=0.0)
        return verify.damage(box, here)

    assert check("3/20", "pack 3") == "pack 3"
    assert check("5/20", "pack 5") == "pack 3 (and 1 more)"
    assert check("5/20") == "pack 3"
    assert check("4/20") == "pack 3"
    assert check("") == "pack 3"
    assert check("3/20") == ""
    assert check("3/20", "pack 3") == "pack 3"
    assert check("all") == ""
    assert box.catalog.get("damage.local") == ""


def test_a_locked_repository_is_not_called_damaged(tmp_path: Path) -> None:
    repository = FakeRepository(broken={"check": RepositoryLocked("the repository is locked", "wait")})
    box = box_of(tmp_path, repository, FakeEngine(), "a")
    here = box.repositories["local"]
    end = verify.when_due(box, here, "never checked", UNDO)
    assert [(event.name, event.severity, event.hint) for event in end.events] == [("verify.blocked", "warning", "wait")]
    assert (end.text, end.exit_code) == ("check put off: the repository is locked", 11)
    assert box.catalog.last_check("local") is None, "it is due again"
    box.catalog.put("damage.local", '{"3/20": "pack 3"}')
    end = verify.when_due(box, here, "never checked", UNDO)
    assert [event.name for event in end.events] == ["verify.failed", "verify.blocked"]
    assert (end.text, end.exit_code) == ("damaged", 1)
