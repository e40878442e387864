"""A test notification: what a channel said stands beside its name, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from orchestrator.model.errors import Precondition
from orchestrator.runs.doctor import examine
from orchestrator.runs.notify import send_test
from orchestrator.runs.toolbox import Toolbox
from tests.unit.fakes import FakeEngine, FakeRepository, box_of


class Deaf:
    """A notifier none of whose channels answers."""

    def send(self, channel: str, *_: object) -> None:
        raise Precondition(f"channel {channel}: no answer within 3 s", "look")

    def check(self, channel: str) -> None:
        self.send(channel)


def deaf_box(folder: Path) -> Toolbox:
    return replace(box_of(folder, FakeRepository(), FakeEngine()), notifier=cast("Any", Deaf()))


def test_a_channel_is_named_once(tmp_path: Path) -> None:
    assert send_test(deaf_box(tmp_path)) == [("ops", "no answer within 3 s", "look")]


def test_doctor_names_a_channel_once(tmp_path: Path) -> None:
    box = replace(deaf_box(tmp_path), repositories={}, no_secret=cast("Any", lambda _ref: None))
    found = {subject: finding.message for subject, finding in examine(box).findings}
    assert found["channel ops"] == "no answer within 3 s"
