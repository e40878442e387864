"""Fixtures around a state folder, an undo list and a program that owns them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
from tests.restics import RESTIC_VERSIONS, restic_of
from tests.weak_key import weaken

RUN = "20240229T010203Z-00000a"


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(str(tmp_path / "policy.yml"), {"RESGUARDO_STATE": str(tmp_path / "state")})


@pytest.fixture
def undo(state: StateFolder) -> Iterator[RunUndo]:
    with RunUndo(state, RUN) as run:
        yield run


class OwnerProcess:
    """A program of the test's that uses the adapters and is then killed; it prints words that the test waits for."""

    def __init__(self, script: str, *args: str, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def owner(tmp_path: Path, state: StateFolder) -> Iterator[Callable[..., OwnerProcess]]:
    started: list[OwnerProcess] = []

    def start(script: str, *args: str, **env: str) -> OwnerProcess:
        inside = {"RESGUARDO_STATE": state.root, "POLICY": str(tmp_path / "policy.yml"), **env}
        started.append(OwnerProcess(script, *args, env=inside))
        return started[-1]

    yield start
    for process in started:
        process.close()


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Look every 5 ms whether the condition holds; `seconds` suffice on a quiet machine, a busy one has ten times."""
    end = time.monotonic() + 10 * seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def lives(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def marked(token: str) -> list[int]:
    """PIDs of living processes whose command line holds `token`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if token.encode() in words and lives(int(entry.name)):
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One initialised repository, copied for every test: `init` takes seconds."""
    place = tmp_path_factory.mktemp("template")
    (place / "key").write_text("of the test\n")
    argv = [restic_of(RESTIC_VERSIONS[0]), "init", "-r", place / "repository", "-p", place / "key", "--no-cache", "-q"]
    subprocess.run(argv, check=True, timeout=60)
    weaken(place / "repository", "of the test")
    return place


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Path:
    """A repository of this test with its key beside it."""
    shutil.copytree(template, tmp_path / "vault")
    return tmp_path / "vault"
