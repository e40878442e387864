"""Secrets inside a container: the tool reads them, nobody else finds them, nothing of them is left."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.adapters.undo import RunUndo
from orchestrator.model.errors import Bug
from tests.engines.servers.docker import Box, DockerEngine

CANARY = "canary-S3cret-\\0101-%s-$(id)-ü"


@pytest.fixture(scope="module")
def box(docker_engine: DockerEngine) -> Iterator[Box]:
    with docker_engine.container(["/bin/sleep", "100000"], image="tools") as made:
        yield made


def visible(engine: DockerEngine, box: Box, since: int) -> str:
    """Everything that others could look at: what the Engine tells, and every process's arguments and environment."""
    api = engine.client.api
    execs = [api.exec_inspect(each) for each in api.inspect_container(box.id)["ExecIDs"] or []]
    stream = api.events(since=since, until=int(time.time()) + 1, decode=True)
    events = list(stream)
    stream.close()
    assert execs
    assert any("exec_create" in event["Action"] for event in events)
    texts = [json.dumps(each, ensure_ascii=False) for each in (api.inspect_container(box.id), execs, events)]
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with suppress(OSError):
                texts += [(process / name).read_bytes().decode(errors="replace") for name in ("cmdline", "environ")]
    return "\n".join([*texts, engine.log.read_text(), box.logs])


def named_files(box: Box) -> list[str]:
    return [str(path) for place in ("/dev/shm", "/run", "/tmp") for path in box.file(place).rglob("*")]


@pytest.mark.parametrize("user", [None, "app"])
def test_a_secret_is_seen_by_its_tool_alone(
    docker_engine: DockerEngine, box: Box, undo: RunUndo, user: str | None
) -> None:
    since = int(time.time())
    read, write = os.pipe()
    script = 'stat -L -c "%a %U %s" "$1"; cat "$1" "$KEY"; exec sleep 1000'
    proc = box.executor().start(
        ["sh", "-c", script, "x", "{secret:password}"],
        undo=undo,
        env={"KEY": "{secret:key}"},
        secrets={"password": CANARY.encode(), "key": b"\0two\nlines\n\xff"},
        stdout=write,
        user=user,
    )
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        assert stream.readline() == f"600 {user or 'root'} {len(CANARY.encode())}\n".encode()
        expected = CANARY.encode() + b"\0two\nlines\n\xff"
        assert stream.read(len(expected)) == expected
        said = visible(docker_engine, box, since)
        assert "stat -L -c" in said, "the look does not see what can be seen"
        assert "canary-S3cret" not in said
        assert named_files(box) == []
        proc.stop()
    assert box.processes() == []


def test_a_secret_never_has_a_name_once_it_has_a_content(box: Box, undo: RunUndo) -> None:
    done = box.executor().run(["ls", "-l", "/proc/self/fd"], undo=undo, secrets={"one": b"1", "two": b"2"})
    lines = [line for line in done.stdout.decode().splitlines() if ".resguardo-" in line]
    assert len(lines) == 2
    assert all("/dev/shm/" in line and line.endswith("(deleted)") for line in lines)


def test_the_umask_of_a_tool_with_a_secret_is_the_containers(box: Box, undo: RunUndo) -> None:
    at = box.executor()
    with_secret = at.run(["sh", "-c", "umask"], undo=undo, secrets={"one": b"1"})
    assert with_secret.stdout == at.run(["sh", "-c", "umask"], undo=undo).stdout == b"0022\n"


def test_a_container_that_cannot_be_written_anywhere_but_in_memory(docker_engine: DockerEngine, undo: RunUndo) -> None:
    with docker_engine.container(["/bin/sleep", "1000"], image="tools", read_only=True) as box:
        done = box.executor().run(["cat", "{secret:one}"], undo=undo, secrets={"one": b"here"}, user="app")
        assert done.stdout == b"here"


def test_too_many_secrets(box: Box, undo: RunUndo) -> None:
    at = box.executor()
    six = {str(number): str(number).encode() for number in range(6)}
    words = [f"{{secret:{name}}}" for name in six]
    assert at.run(["cat", *words], undo=undo, secrets=six).stdout == b"012345"
    with pytest.raises(Bug):
        at.run(["cat"], undo=undo, secrets={**six, "7": b""})


def test_nothing_of_the_containers_environment_redirects_a_client(docker_engine: DockerEngine, undo: RunUndo) -> None:
    theirs = {"PGPASSWORD": "theirs", "PGHOST": "elsewhere", "MYSQL_PWD": "theirs", "TZ": "Asia/Tokyo", "LANG": "C"}
    with docker_engine.container(["/bin/sleep", "1000"], image="tools", env=theirs) as box:
        said = box.executor().run(["env"], undo=undo, env={"PGHOST": "ours"}).stdout.decode()
    assert "theirs" not in said
    assert "elsewhere" not in said
    assert {"PGHOST=ours", "TZ=UTC", "LANG=C.UTF-8", "LC_ALL=C.UTF-8"} <= set(said.splitlines())
