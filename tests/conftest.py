"""Fixtures that several suites share: restic in both versions, an initialised repository, a state folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters import private
from orchestrator.adapters.restic import ResticRepository, Settings
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.secret import Secret
from tests.engines.servers import docker
from tests.engines.servers.docker import DockerEngine
from tests.restics import RESTIC_VERSIONS, restic_of
from tests.weak_key import weaken

# A shell without job control, or nohup, starts commands with these ignored, and children would inherit that.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

PASSWORD = "canary-Passw0rd-5d1f"
RUN = "20260101T000000Z-abcdef"


@pytest.fixture(scope="session", params=RESTIC_VERSIONS)
def restic(request: pytest.FixtureRequest) -> str:
    """The path of one restic: the oldest that is there, then the newest."""
    return restic_of(request.param)


@pytest.fixture(scope="session")
def newest_restic() -> str:
    """The path of the newest restic that is there, for tests that need not run on each."""
    return restic_of(RESTIC_VERSIONS[-1])


@pytest.fixture(scope="session")
def initialised_repository(restic: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository made once per restic (that takes seconds); copy it, do not use it."""
    base = tmp_path_factory.mktemp("initialised")
    (base / "password").write_text(PASSWORD)
    env = {
        "RESTIC_PASSWORD_FILE": str(base / "password"),
        "RESTIC_REPOSITORY": str(base / "repository"),
        "RESTIC_CACHE_DIR": str(base / "cache"),
    }
    subprocess.run([restic, "init"], env=env, check=True, capture_output=True, timeout=60)
    weaken(base / "repository", PASSWORD)
    return base / "repository"


@pytest.fixture
def repository_path(initialised_repository: Path, tmp_path: Path) -> Path:
    """A fresh repository of this test alone."""
    path = tmp_path / "repository"
    shutil.copytree(initialised_repository, path)
    return path


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    """A state folder of this test alone."""
    return StateFolder(str(tmp_path / "policy.yml"), {"RESGUARDO_STATE": str(tmp_path / "state")})


@pytest.fixture
def undo(state: StateFolder) -> Iterator[RunUndo]:
    """A run's undo list with its real sentinel."""
    with RunUndo(state, RUN) as run:
        yield run


MakeRepository = Callable[..., ResticRepository]


@pytest.fixture
def make_repository(restic: str, repository_path: Path, state: StateFolder) -> MakeRepository:
    """Make the adapter for this test's repository; keyword arguments replace settings."""

    def make(**changes: Any) -> ResticRepository:
        plain: dict[str, Any] = {
            "name": "local",
            "url": str(repository_path),
            "host": "hub",
            "password": lambda: Secret(PASSWORD),
            "cache": state.cache,
            "program": restic,
            "retry_lock": 0.0,
        }
        return ResticRepository(Settings(**(plain | changes)), partial(private.secrets_dir, state))

    return make


@pytest.fixture
def repository(make_repository: MakeRepository) -> ResticRepository:
    """The adapter for this test's repository."""
    return make_repository()


@pytest.fixture
def plain_restic(restic: str, repository_path: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run restic as a person would, beside the adapter."""
    password = tmp_path / "plain-password"
    password.write_text(PASSWORD)
    env = {
        "PATH": os.defpath,
        "RESTIC_PASSWORD_FILE": str(password),
        "RESTIC_REPOSITORY": str(repository_path),
        "RESTIC_CACHE_DIR": str(tmp_path / "plain-cache"),
    }

    def run(*args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run([restic, *args], env=env, check=check, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A loopback port that is bound and refuses every connection."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A loopback port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerEngine]:
    """A private Docker Engine of this test process; its module says how to use it."""
    if reason := docker.missing():
        pytest.skip(reason if os.geteuid() == 0 else f"impossible here: {reason}")
    with docker.DockerEngine() as engine:
        yield engine
