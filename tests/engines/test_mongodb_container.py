"""A MongoDB server inside a container: reached by its address, dumped by our driver or by a program in there."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest

from orchestrator.engines.mongodb import ENGINE
from orchestrator.model.engine import Item, Source
from orchestrator.model.errors import ResguardoError, ServerUnreachable, ToolMissing
from orchestrator.model.secret import Secret
from tests.engines.conformance import assert_told, errors, read_all
from tests.engines.recording import RecordingUndo
from tests.engines.servers.docker import Box, DockerEngine
from tests.engines.servers.mongodb import PYTHON_BUILD, is_full, portable, program
from tests.engines.test_mongodb import Options, fill
from tests.engines.test_mongodb_own import bring, good


@pytest.fixture
def box(docker_engine: DockerEngine) -> Iterator[Box]:
    """A server that keeps its data in memory."""
    server = portable(Path(program()))
    given = ["--host", "0.0.0.0", "--port", "27017", "--storage-path", "/data/it", "--log-level", "WARNING"]
    argv = [*server.argv, *(["--bind_ip_all", "--dbpath=/data"] if is_full() else given)]
    with docker_engine.container(argv, memory=["/data"], mounts=server.folders, env=server.env) as made:
        _ready(made)
        yield made


def test_the_server_is_started_without_the_links_that_lead_to_it(tmp_path: Path) -> None:
    if program() != str(PYTHON_BUILD):
        pytest.skip("does not apply: the server is no Python program")
    (tmp_path / "tools").symlink_to(PYTHON_BUILD.parents[2])
    found = portable(tmp_path / "tools" / PYTHON_BUILD.relative_to(PYTHON_BUILD.parents[2]))
    assert str(tmp_path) not in repr(found)
    words = [word for word in (*found.argv, *found.folders, *found.env.values()) if word.startswith("/")]
    assert [os.path.realpath(word) for word in words] == words
    done = subprocess.run([*found.argv, "--help"], env=found.env, capture_output=True, check=True, timeout=60)
    assert b"--storage-path" in done.stdout


def _ready(box: Box) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            with pymongo.MongoClient(box.address, 27017, directConnection=True, serverSelectionTimeoutMS=300) as client:
                client.admin.command("ping")
                return
        except pymongo.errors.PyMongoError:
            time.sleep(0.05)
    raise AssertionError(f"no server in {box.name}: {box.logs[-2000:]}")


def filled(box: Box, *, large: bool = False) -> None:
    with pymongo.MongoClient(box.address, 27017, directConnection=True) as client:
        fill(client.shop, large=large)


def source_of(box: Box, **more: str) -> Source:
    given = {"container": box.name, "database": "shop", "globals": False} | more
    options = Options.model_validate(given, context={"directory": "/"})
    secret = Secret("")
    return Source("shop", "main", "mongodb", "default", 60.0, options, lambda _reference: secret, container=box.name)


def test_dumped_and_brought_back(box: Box, undo: RecordingUndo) -> None:
    filled(box)
    at = box.executor()
    with pytest.raises(ToolMissing, match=f"mongodump is not in container {box.name}"):
        ENGINE.probe(source_of(box, dumper="mongodump"), at, undo)
    (item,) = ENGINE.probe(source_of(box), at, undo).items
    taken = good(item, at, undo)
    assert taken.end.counts["customer"] == 200
    assert bring(item, taken.data, "back", at, undo).name == "back"
    assert not errors(ENGINE.verify(item, "back", taken.end.counts, at, undo))


def test_killed_under_a_dump(box: Box, undo: RecordingUndo) -> None:
    filled(box, large=True)
    at, item = box.executor(), Item(source_of(box), "shop", "archive")
    with ENGINE.dump(item, at, undo) as dump:
        assert os.read(dump.fd, 100)
        box.kill()
        read_all(dump.fd)
        assert "the connection was lost" in dump.finish().error
    with pytest.raises(ResguardoError) as caught:
        ENGINE.probe(item.source, box.executor(), undo)
    assert_told(caught.value)


@pytest.mark.slow
def test_paused_under_a_dump(box: Box, undo: RecordingUndo) -> None:
    filled(box, large=True)
    at, item = box.executor(), Item(source_of(box), "shop", "archive")
    began = time.monotonic()
    with ENGINE.dump(item, at, undo) as dump:
        assert os.read(dump.fd, 100)
        box.pause()
        read_all(dump.fd)
        assert dump.finish().error
    assert time.monotonic() - began < 60
    box.unpause()


def test_a_server_that_is_not_there_is_told_with_its_container(
    docker_engine: DockerEngine, undo: RecordingUndo
) -> None:
    with docker_engine.container(["/usr/bin/sleep", "infinity"]) as empty:
        with pytest.raises(ServerUnreachable) as caught:
            ENGINE.probe(source_of(empty), empty.executor(), undo)
        assert empty.name in caught.value.message
        assert_told(caught.value)
