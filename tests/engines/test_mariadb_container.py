"""MariaDB inside a container: its tools run there, our driver reaches it from here, and it is killed or paused."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.engines import load
from orchestrator.engines._mysql.options import Options
from orchestrator.model.engine import Item, Source
from orchestrator.model.errors import ResguardoError, RightsMissing, ToolMissing
from orchestrator.model.execution import Executor
from orchestrator.model.secret import Secret
from tests.engines.conformance import PipeData, errors
from tests.engines.mysql_own import good, read_all, read_some
from tests.engines.recording import RecordingUndo
from tests.engines.servers.docker import Box, DockerEngine
from tests.engines.servers.roots import needed

ENGINE = load("mariadb")
START = """
mariadb-install-db --no-defaults --datadir=/data/db --tmpdir=/data --skip-test-db --skip-name-resolve \
  --auth-root-authentication-method=normal \
  >/dev/null &&
exec mariadbd --no-defaults --datadir=/data/db --tmpdir=/data --socket=/data/s --pid-file=/data/pid \
  --bind-address=0.0.0.0 --skip-name-resolve \
  --innodb-buffer-pool-size=32M
"""
SETUP = """
CREATE USER bk@'%' IDENTIFIED BY 'b:k'; GRANT ALL ON *.* TO bk@'%';
CREATE DATABASE shop; USE shop; CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, v text);
INSERT INTO t (v) SELECT repeat(md5(seq), 150) FROM seq_1_to_2500; CREATE VIEW w AS SELECT COUNT(*) AS c FROM t;
"""


@contextmanager
def inside(engine: DockerEngine) -> Iterator[Box]:
    needed("mariadbd", package="mariadb-server")
    with engine.container(["/usr/bin/bash", "-c", START], user="mysql", memory=["/data"]) as box:
        for _ in range(400):
            try:
                sql(box, "SELECT 1")
                break
            except Exception:  # noqa: BLE001 - it is starting
                time.sleep(0.05)
        sql(box, SETUP)
        yield box


def sql(box: Box, text: str) -> str:
    return box.exec("/usr/bin/mariadb", "--no-defaults", "-S", "/data/s", "-u", "root", "-N", "-e", text)


def contained(timeout: float = 60.0, **more: Any) -> Source:
    given = {"container": "c", "user": "bk", "password": {"env": "X"}, "database": "shop", "globals": False, **more}
    options = Options.model_validate(given, context={"directory": "/"})
    return Source("shop", "main", "mariadb", "default", timeout, options, lambda _ref: Secret("b:k"), container="c")


def item_of(source: Source, at: Executor, undo: RecordingUndo) -> Item:
    facts = ENGINE.probe(source, at, undo)
    assert not errors(facts.findings)
    return facts.items[-1]


@pytest.fixture(scope="module")
def box(docker_engine: DockerEngine) -> Iterator[Box]:
    with inside(docker_engine) as running:
        yield running


@pytest.mark.parametrize("way", ["socket", "port"])
def test_dump_restore_verify_swap(way: str, box: Box, undo: RecordingUndo) -> None:
    at = box.executor()
    source = contained(**({"socket": "/data/s"} if way == "socket" else {}))
    item = item_of(source, at, undo)
    taken = good(item, at, undo)
    assert taken.end.counts == {"t": 2500, "#tables": 1, "#views": 1}
    with PipeData(taken.data) as data:
        ENGINE.restore(item, data, "copy", at, undo)
    assert not errors(ENGINE.verify(item, "copy", taken.end.counts, at, undo))
    assert ENGINE.original(item, at).there
    assert ENGINE.swap(item, "copy", f"kept_{way}", at, undo).name == f"kept_{way}"
    assert sql(box, "SELECT c FROM shop.w").split() == ["2500"]
    assert sql(box, "SELECT COUNT(*) FROM kept_socket.t").split() == ["2500"]


def test_what_is_wrong_inside_is_said(box: Box, undo: RecordingUndo) -> None:
    at = box.executor()
    with pytest.raises(ToolMissing, match="mariadb-dump is not in /nowhere in container"):
        ENGINE.probe(contained(tools="/nowhere"), at, undo)
    with pytest.raises(RightsMissing, match="is refused"):
        ENGINE.probe(replace(contained(), resolve=lambda _ref: Secret("wrong")), at, undo)


@pytest.mark.parametrize("fault", ["kill", pytest.param("pause", marks=pytest.mark.slow)])
def test_a_container_that_is_stopped_midway(fault: str, docker_engine: DockerEngine, undo: RecordingUndo) -> None:
    with inside(docker_engine) as box:
        at = box.executor()
        item = item_of(contained(timeout=5.0), at, undo)
        with ENGINE.dump(item, at, undo) as dump:
            assert os.read(dump.fd, 100)
            if fault == "kill":
                read_some(dump.fd)
            getattr(box, fault)()
            read_all(dump.fd)
            end = dump.finish()
            assert end.error
            assert not end.counts
        if fault == "pause":
            box.unpause()
        else:
            with pytest.raises(ResguardoError):
                ENGINE.probe(item.source, at, undo)
