"""What is kept of the last valid policy, and that keeping it is a convenience."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.adapters.last_good import LastGood, recall, remember
from orchestrator.adapters.state import StateFolder
from orchestrator.policy.policy_file import Notify

GOOD = LastGood(host="hub", directory="/srv", notify=Notify())


def test_it_is_kept_and_recalled(tmp_path: Path) -> None:
    state = StateFolder("policy.yml", {"RESGUARDO_STATE": str(tmp_path / "state")})
    assert recall(state) is None
    remember(state, GOOD)
    assert recall(state) == GOOD


def test_what_cannot_be_kept_fails_nothing(tmp_path: Path) -> None:
    state = StateFolder("policy.yml", {"RESGUARDO_STATE": str(tmp_path / "state")})
    os.makedirs(f"{state.last_good}/notify.json/in the way")
    remember(state, GOOD)
    assert os.listdir(state.last_good) == ["notify.json"]
    assert recall(state) is None
