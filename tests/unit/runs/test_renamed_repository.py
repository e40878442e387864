"""A repository that has another name in policy.yml than in the catalog."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.model.errors import EXIT_PRECONDITION, Precondition
from orchestrator.planning.restore import Where
from orchestrator.report.status import status_text
from orchestrator.runs import verify
from orchestrator.runs.status import status
from orchestrator.runs.toolbox import Toolbox
from tests.unit.fakes import FakeEngine
from tests.unit.runs.test_restore_run import backed_up, bring_back


def renamed(folder: Path) -> Toolbox:
    box, repository = backed_up(folder, FakeEngine(), "a")
    return replace(box, repositories=cast("Any", {"other": replace(repository, name="other")}))


def test_a_restore_says_which_repository_is_not_named(tmp_path: Path) -> None:
    record, items = bring_back(renamed(tmp_path), Where())
    assert (record.exit_code, items[0].state) == (EXIT_PRECONDITION, "failed")
    assert "repository 'local', which policy.yml does not name" in items[0].error
    assert "catalog rebuild" in str(items[0].hint)


def test_verify_and_show_say_it_too(tmp_path: Path) -> None:
    box = renamed(tmp_path)
    (point,) = box.catalog.points()
    record = verify.verify(box, data=None, point=point.id, wait=0.0)
    assert (record.exit_code, "policy.yml does not name" in record.error) == (EXIT_PRECONDITION, True)
    with pytest.raises(Precondition, match="does not name"):
        box.repository(point)


def test_points_of_a_repository_that_the_policy_does_not_name_count_for_nothing(tmp_path: Path) -> None:
    box, _ = backed_up(tmp_path, FakeEngine(), "a")
    assert (status(box).points, status(box).unnamed) == (1, {})
    (tmp_path / "new").mkdir()
    stands = status(replace(box, repositories={}))
    assert (stands.points, stands.unnamed) == (0, {"local": 1})
    assert "1 in local" in status_text(stands, box.clock())
    assert stands.exit_code == 1
