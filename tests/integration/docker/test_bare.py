"""Images without a shell; private folders inside containers; what is undone there after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from orchestrator.adapters import sentinel
from orchestrator.adapters.container import ContainerExecutor, Daemon
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.errors import ServerUnreachable, ToolMissing
from orchestrator.model.execution import RemoveInside
from tests.engines.servers.docker import Box, DockerEngine

BUSYBOX = "/bin/busybox"


@pytest.fixture(scope="module")
def scratch(docker_engine: DockerEngine) -> Iterator[Box]:
    """One binary, no shell."""
    with docker_engine.container([BUSYBOX, "sleep", "100000"], image="scratch") as made:
        yield made


@pytest.fixture(scope="module")
def box(docker_engine: DockerEngine) -> Iterator[Box]:
    with docker_engine.container(["/bin/sleep", "100000"], image="tools", user="app") as made:
        yield made


def left(box: Box) -> list[str]:
    return [str(path) for place in ("/dev/shm", "/run", "/tmp") for path in box.file(place).glob(".resguardo-*")]


def test_a_tool_without_a_shell(scratch: Box, undo: RunUndo) -> None:
    at = scratch.executor()
    given = os.urandom(500_000)
    for _ in range(5):
        done = at.run([BUSYBOX, "cat"], undo=undo, stdin=given)
        assert done.exit.ok
        assert done.stdout == given
    assert at.run([BUSYBOX, "echo", "one"], undo=undo).stdout == b"one\n"
    assert at.run([BUSYBOX, "false"], undo=undo).exit.code == 1


def test_a_long_dump_without_a_shell(scratch: Box, undo: RunUndo) -> None:
    read, write = os.pipe()
    proc = scratch.executor().start([BUSYBOX, "yes"], undo=undo, stdout=write)
    os.close(write)
    assert os.read(read, 100)
    assert not proc.stop().ok
    os.close(read)
    assert scratch.processes() == []


def test_a_missing_tool_without_a_shell_is_never_output(scratch: Box, undo: RunUndo) -> None:
    read, write = os.pipe()
    with pytest.raises(ToolMissing, match="pg_dump: no such program in container"):
        scratch.executor().start(["/usr/bin/pg_dump"], undo=undo, stdout=write)
    os.close(write)
    assert os.read(read, 100) == b""
    os.close(read)


def test_secrets_without_a_shell(scratch: Box, undo: RunUndo) -> None:
    at = scratch.executor()
    words = [BUSYBOX, "cat", "{secret:one}", "{secret:two}"]
    secrets = {"one": b"\0first\n", "two": b"second"}
    assert at.run(words, undo=undo, secrets=secrets, user="1234").stdout == b"\0first\nsecond"
    assert left(scratch) == []
    done = at.run([BUSYBOX, "stat", "-c", "%a %u", "{secret:one}"], undo=undo, secrets=secrets, user="1234")
    assert done.stdout == b"600 1234\n"
    assert left(scratch) == []


class Deaf(Daemon):
    """An Engine that does what it is asked to, "at once" or "late", and whose answer is lost."""

    when = ""
    begun: socket.socket | None = None
    asked = ""

    def attach(self, exec_id: str) -> socket.socket:
        if not self.when:
            return super().attach(exec_id)
        self.asked = exec_id
        if self.when == "at once":
            self.begin()
        raise ServerUnreachable("the Engine does not answer: timed out")

    def begin(self) -> None:
        self.begun = super().attach(self.asked)


@pytest.mark.parametrize("when", ["at once", "late"])
def test_a_tool_is_never_forgotten_that_may_run(scratch: Box, undo: RunUndo, when: str) -> None:
    daemon = Deaf(scratch.engine.url)
    at = ContainerExecutor(daemon, scratch.name)
    assert at.run([BUSYBOX, "true"], undo=undo).exit.ok
    daemon.when = when
    with pytest.raises(ServerUnreachable, match="timed out"):
        at.start([BUSYBOX, "sleep", "1000"], undo=undo)
    if when == "late":
        daemon.begin()
        undo.close()
    assert daemon.begun is not None
    daemon.begun.close()
    daemon.close()
    assert scratch.processes() == []


def test_a_secret_that_cannot_be_removed_is_told(scratch: Box, undo: RunUndo) -> None:
    secrets = {"one": b"x"}
    proc = scratch.executor().start([BUSYBOX, "tail", "-f", "{secret:one}"], undo=undo, secrets=secrets)
    (folder,) = left(scratch)
    name = folder.removeprefix(f"/proc/{scratch.pid}/root")
    within = ["nsenter", "-t", str(scratch.pid), "-m", BUSYBOX]
    subprocess.run([*within, "mount", "-t", "tmpfs", "none", name], check=True, timeout=20)
    proc.stop()
    undo.close()
    subprocess.run([*within, "umount", name], check=True, timeout=20)
    shutil.rmtree(folder)
    (problem,) = undo.problems
    assert problem.startswith(f"{name} in container {scratch.name} cannot be removed: ")


def test_a_private_folder(box: Box, undo: RunUndo) -> None:
    at = box.executor()
    folder = at.private_dir(undo)
    assert at.exists(folder)
    script = 'stat -c "%a %U" "$1"; echo secret >"$1/file"; mkdir "$1/deep"; ls -a / >"$1/deep/more"'
    done = at.run(["sh", "-c", script, "x", folder], undo=undo)
    assert done.stdout == b"700 app\n", done.exit
    undo.close()
    assert undo.problems == ()
    assert not at.exists(folder)
    assert left(box) == []


def test_a_large_private_folder_is_not_in_memory(box: Box, undo: RunUndo) -> None:
    folder = box.executor().private_dir(undo, size_hint=1 << 30)
    assert folder.startswith(("/var/tmp/", "/tmp/"))


def test_links_inside_lead_nowhere_else(box: Box, tmp_path: Path) -> None:
    """What a container's own processes put in the way of a removal makes it fail: this machine's files are safe."""
    ours = tmp_path / ".resguardo-x"
    ours.mkdir()
    (ours / "precious").write_text("here")
    box.exec("sh", "-c", f"ln -sfn {tmp_path} /dev/shm/way; ln -sfn {ours} /dev/shm/.resguardo-link")
    start = sentinel.start_of(box.pid) or 0
    for path in ("/dev/shm/way/.resguardo-x", "/dev/shm/../../.resguardo-x", "/dev/shm/plain"):
        action = RemoveInside(path, box.pid, start, volatile=True, place=f"container {box.name}")
        assert sentinel.remove_inside(asdict(action)), path
    link = RemoveInside("/dev/shm/.resguardo-link", box.pid, start, volatile=True, place="container x")
    assert sentinel.remove_inside(asdict(link)) == ""
    assert not os.path.lexists(box.file("/dev/shm/.resguardo-link"))
    assert (ours / "precious").read_text() == "here"


def test_a_container_that_is_gone(box: Box) -> None:
    gone = {"path": "/dev/shm/.resguardo-x", "pid": box.pid, "start": 1, "place": "container x"}
    assert sentinel.remove_inside({**gone, "volatile": True}) == ""
    assert "does not run any more" in sentinel.remove_inside({**gone, "volatile": False})


OWNER = """
import os, sys
from orchestrator.adapters.container import ContainerExecutor, Daemon
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
undo = RunUndo(StateFolder(os.environ["POLICY"]), "20260101T000000Z-abcdef")
at = ContainerExecutor(Daemon(), sys.argv[1])
folder = at.private_dir(undo)
read, write = os.pipe()
at.start(sys.argv[2:], undo=undo, stdout=write, secrets={"one": b"x"})
os.read(read, 1)
print(folder, flush=True)
input()
"""


@pytest.mark.parametrize(
    ("which", "failpoint"),
    [
        ("scratch", ""),
        ("scratch", "child.blocked"),
        ("box", "child.released"),
        pytest.param("scratch", "child.released", marks=pytest.mark.slow),
        pytest.param("box", "", marks=pytest.mark.slow),
        pytest.param("box", "child.blocked", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_left_after_a_kill(
    which: str, failpoint: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    box: Box = request.getfixturevalue(which)
    env = {
        "DOCKER_HOST": box.engine.url,
        "POLICY": str(tmp_path / "policy.yml"),
        "RESGUARDO_STATE": str(tmp_path / "state"),
        "PATH": os.environ["PATH"],
        "RESGUARDO_FAILPOINT": failpoint,
        "RESGUARDO_FAILPOINT_FILE": str(tmp_path / "failpoint"),
    }
    argv = [sys.executable, "-c", OWNER, box.name, BUSYBOX, "yes"]
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        folder = owner.stdout.readline()
        if not failpoint:
            assert box.processes()
            assert folder
            owner.send_signal(signal.SIGKILL)
        owner.wait(30)
    until = time.monotonic() + 15
    while (rest := [*box.processes(), *left(box)]) and time.monotonic() < until:
        time.sleep(0.05)
    assert rest == []
