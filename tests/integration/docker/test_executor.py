"""Tools inside a container: what the port promises, on real containers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from orchestrator.adapters.container import ContainerExecutor
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.errors import RightsMissing, ServerUnreachable, ToolMissing
from tests.engines.servers.docker import Box, DockerEngine


@pytest.fixture(scope="module")
def box(docker_engine: DockerEngine) -> Iterator[Box]:
    with docker_engine.container(["/bin/sleep", "100000"], image="tools", env={"PGPASSWORD": "theirs"}) as made:
        yield made


@pytest.fixture
def at(box: Box) -> ContainerExecutor:
    return box.executor()


def test_a_program_runs_with_its_arguments_as_they_are(at: ContainerExecutor, undo: RunUndo) -> None:
    words = ["", " ", "quo'te\"d", "new\nline", "-dash", "ünï-日本", "100%s %41 \\0101", "$(id);`id`\\", "{secret}"]
    done = at.run(["sh", "-c", 'for each; do printf "%s|" "$each"; done', "x", *words], undo=undo)
    assert done.exit.ok
    assert done.stdout.decode() == "".join(f"{word}|" for word in words)


def test_stdin_stdout_stderr_and_exit_code(at: ContainerExecutor, undo: RunUndo) -> None:
    given = os.urandom(300_000)
    done = at.run(["sh", "-c", "cat; echo bad >&2; exit 7"], undo=undo, stdin=given)
    assert done.stdout == given
    assert (done.exit.code, done.exit.stderr_tail) == (7, "bad\n")


def test_tool_missing(at: ContainerExecutor, undo: RunUndo) -> None:
    with pytest.raises(ToolMissing) as caught:
        at.start(["no-such-tool"], undo=undo)
    assert caught.value.hint


def test_no_such_user(at: ContainerExecutor, undo: RunUndo) -> None:
    with pytest.raises(RightsMissing):
        at.start(["id"], undo=undo, user="nobody-here")


def test_no_such_container(docker_engine: DockerEngine, undo: RunUndo) -> None:
    with pytest.raises(ServerUnreachable) as caught:
        ContainerExecutor(docker_engine.daemon, "absent").start(["id"], undo=undo)
    assert caught.value.hint
