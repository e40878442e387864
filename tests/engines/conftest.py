"""The real executor and undo list for all engine tests; after each test nothing registered may be left."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from orchestrator.adapters.executor import HostExecutor
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.execution import Executor
from tests.engines.conformance import HANDFUL_OF_LABELS
from tests.engines.recording import RecordingUndo
from tests.engines.servers.docker import Box, DockerEngine


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> StateFolder:
    folder = tmp_path_factory.mktemp("state")
    return StateFolder(str(folder / "policy.yml"), {"RESGUARDO_STATE": str(folder / "state")})


@pytest.fixture(scope="session")
def sidecar(docker_engine: DockerEngine) -> Iterator[Box]:
    """A container in which this machine's programs find the tests' servers."""
    with docker_engine.sidecar() as box:
        yield box


@pytest.fixture
def at(request: pytest.FixtureRequest, state: StateFolder) -> Executor:
    """Where tools run: on this host, and for classes whose `places` say so inside a container, too."""
    if getattr(request, "param", "host") == "container":
        box: Box = request.getfixturevalue("sidecar")
        return box.executor()
    return HostExecutor(state)


@pytest.fixture
def undo(state: StateFolder) -> Iterator[RecordingUndo]:
    with RunUndo(state, "20260102T030405Z-0a0b0c") as real:
        recording = RecordingUndo(real)
        yield recording
        recording.assert_clean()


_LABELS = ("broken", "hostile", "share")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for one of `_LABELS` once for each that its class names; in each of its `places`."""
    label = next((name for name in _LABELS if name in metafunc.fixturenames), "")
    labels = list(getattr(metafunc.cls, label)) if label and metafunc.cls is not None else []
    places = getattr(metafunc.cls, "places", ("host",)) if "at" in metafunc.fixturenames else ("host",)
    if places == ("host",):
        if labels:
            metafunc.parametrize(label, labels)
        return
    sets = [
        pytest.param(*given, marks=pytest.mark.slow if _repeats(metafunc, *given) else ())
        for given in itertools.product(places, *([labels] if labels else []))
    ]
    metafunc.parametrize(["at", label] if labels else ["at"], sets, indirect=["at"])


def _repeats(metafunc: pytest.Metafunc, place: str, label: object = None) -> bool:
    """Whether a test proves in this place what it proved on the host: a class's `handful` says which do more."""
    handful = getattr(metafunc.cls, "handful", None)
    if place == "host" or handful is None:
        return False
    return metafunc.function.__name__ not in handful or label not in (None, *HANDFUL_OF_LABELS)
