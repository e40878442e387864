"""The real executor and undo list for all engine tests; after each test nothing registered may be left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.model.execution import Executor
from tests.engines.recording import RecordingUndo
from tests.engines.standin import HostExecutor, RunUndo


@pytest.fixture
def at() -> Executor:
    return HostExecutor()


@pytest.fixture
def undo() -> Iterator[RecordingUndo]:
    recording = RecordingUndo(RunUndo())
    yield recording
    recording.assert_clean()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `broken` or `hostile` once for each that its class names."""
    for name in ("broken", "hostile"):
        if name in metafunc.fixturenames and metafunc.cls is not None:
            metafunc.parametrize(name, list(getattr(metafunc.cls, name)))
