"""Ways into a container's files; this process stands for the container's first."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from orchestrator.adapters.container import inside
from orchestrator.adapters.container.daemon import Container
from orchestrator.adapters.container.ways import Reached, Ways
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo

HERE = Container("0" * 64, "box", status="running", pid=os.getpid(), started="once")


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="resguardo-") as made:
        yield Path(made) / "run"


def listening(folder: Path) -> socket.socket:
    folder.mkdir(exist_ok=True)
    (folder / "db.sock").unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "db.sock"))
    server.listen()
    return server


def answers(path: str, server: socket.socket) -> bool:
    server.settimeout(5)
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        server.accept()[0].close()
    return True


def descriptors(folder: Path) -> int:
    """How many of this process's lead to the folder."""
    places = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    return sum(str(place.readlink()).startswith(str(folder)) for place in places if place.is_symlink())


def test_a_socket_costs_one_descriptor_however_often_it_is_asked_for(folder: Path) -> None:
    with listening(folder) as server:
        ways = Ways()
        paths = {ways.path(HERE, str(folder / "db.sock")) for _ in range(500)}
        assert descriptors(folder) == 1
        assert answers(str(paths.pop()), server)
        assert not paths
        del ways
        assert descriptors(folder) == 0


def test_a_server_that_restarted_is_found(folder: Path) -> None:
    ways = Ways()
    name = str(folder / "db.sock")
    with listening(folder):
        ways.path(HERE, name)
    with listening(folder) as server:
        assert answers(str(ways.path(HERE, name)), server)
    shutil.rmtree(folder)
    assert ways.path(HERE, name) is None
    with listening(folder) as server:
        assert answers(str(ways.path(HERE, name)), server)
    assert descriptors(folder) == 1


def test_what_vanishes_meanwhile_is_not_there(folder: Path) -> None:
    with listening(folder):
        status = (folder / "db.sock").stat()
        fd = os.open(folder, os.O_PATH)
        assert Reached(fd, "db.sock").leads_to(status)
        (folder / "db.sock").unlink()
        assert not Reached(fd, "db.sock").leads_to(status)
        os.close(fd)


def test_a_container_that_has_ended_is_hidden(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    ended = Container("0" * 64, "box", pid=gone.pid)
    with pytest.raises(inside.HiddenError):
        inside.ids(gone.pid, "1000")
    with RunUndo(StateFolder(str(tmp_path / "policy.yml")), "20260101T000000Z-abcdef") as undo:
        with pytest.raises(inside.HiddenError):
            inside.private_dir(ended, 0, undo, "container box")
        with pytest.raises(inside.HiddenError):
            inside.place_secrets(ended, {"one": b"1"}, None, undo, "container box")
