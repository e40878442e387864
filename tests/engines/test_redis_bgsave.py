"""A file that a server saved is read by its path: another server's at that path is never taken for it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.adapters.executor import HostExecutor
from orchestrator.adapters.process import Child
from orchestrator.adapters.state import StateFolder
from orchestrator.engines.redis import ENGINE
from orchestrator.engines.redis.proof import Proof, State
from orchestrator.engines.redis.rdb import Contents
from orchestrator.model.engine import Item
from orchestrator.model.errors import DumpFailed, Precondition
from tests.engines.recording import RecordingUndo
from tests.engines.servers.redis import RedisServer
from tests.engines.test_redis import source_of
from tests.engines.test_redis_own import data_item, good, problem


@pytest.fixture(scope="module")
def asked() -> Iterator[RedisServer]:
    with RedisServer() as server:
        server.client().set("who", "asked")
        yield server


@pytest.fixture(scope="module")
def other() -> Iterator[RedisServer]:
    with RedisServer() as server:
        server.client().mset({"who": "other", "more": "1"})
        yield server


class Elsewhere(HostExecutor):
    """Tools see other files than the server: at the path of its snapshot they find that of `other`."""

    def __init__(self, state: StateFolder, asked: RedisServer, other: RedisServer, *, fresh: bool) -> None:
        super().__init__(state)
        self._asked, self._other, self._fresh = asked, other, fresh

    def start(self, argv: Sequence[str], **given: Any) -> Child:
        """Let the other save as late as it can, when its file is to be a fresh one."""
        if self._fresh:
            self._other.save()
        hidden, seen = (str(server.data / "dump.rdb") for server in (self._asked, self._other))
        assert hidden in argv
        return super().start([seen if word == hidden else word for word in argv], **given)


def item_of(server: RedisServer, **more: Any) -> Item:
    return data_item(source_of(server, method="bgsave", **more))


def test_an_old_file_of_another_server(
    asked: RedisServer, other: RedisServer, state: StateFolder, undo: RecordingUndo
) -> None:
    other.save()
    time.sleep(1.1)
    told = problem(item_of(asked), Elsewhere(state, asked, other, fresh=False), undo)
    assert "is not what it saved: it was begun -" in told


def test_a_file_that_another_server_saves_at_the_same_time(
    asked: RedisServer, other: RedisServer, state: StateFolder, undo: RecordingUndo
) -> None:
    at = Elsewhere(state, asked, other, fresh=True)
    assert "is not what it saved" in problem(item_of(asked), at, undo)


def test_it_may_be_saved_again_before_it_is_read(other: RedisServer, state: StateFolder, undo: RecordingUndo) -> None:
    at = Elsewhere(state, other, other, fresh=True)
    assert good(item_of(other), at, undo).end.counts["keys"] == 2


@pytest.mark.parametrize("host", ["192.0.2.7", "db.example", "::ffff:192.0.2.7"])
def test_a_server_that_may_be_on_another_machine(
    host: str, asked: RedisServer, state: StateFolder, undo: RecordingUndo
) -> None:
    source = source_of(asked, method="bgsave", socket=None, host=host)
    with (
        pytest.raises(Precondition, match="may be another machine"),
        ENGINE.dump(data_item(source), HostExecutor(state), undo),
    ):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_beside_its_tools(host: str, asked: RedisServer, state: StateFolder, undo: RecordingUndo) -> None:
    item = item_of(asked, socket=None, host=host, port=asked.port)
    ENGINE.probe(item.source, HostExecutor(state), undo)
    assert good(item, HostExecutor(state), undo).end.counts == {"keys": 1, "functions": 0, "db0": 1}


TOLD = {
    "server_time_usec": "1000500000",
    "rdb_last_save_time": "900",
    "rdb_changes_since_last_save": "0",
    "role": "master",
    "master_replid": "a",
    "repl_backlog_active": "0",
    "db0": "keys=2,expires=1,avg_ttl=5",
}
FOUND = Contents(aux={"ctime": "1000"}, keys={0: 2})


@pytest.mark.parametrize(
    ("contents", "told", "problem"),
    [
        ({}, {}, ""),
        ({"aux": {}}, {}, "does not say when"),
        ({"aux": {"ctime": "999"}}, {}, "begun -1 s"),
        ({"aux": {"ctime": "1002"}}, {}, "begun +2 s"),
        ({"aux": {"ctime": "1000", "repl-id": "a"}}, {}, ""),
        ({"aux": {"ctime": "1000", "repl-id": "b"}}, {}, "another replication"),
        ({}, {"repl_backlog_active": "1"}, "names no replication"),
        ({}, {"repl_backlog_active": "1", "role": "slave"}, ""),
        ({"keys": {0: 1}}, {}, "1 keys in database 0 instead of 2"),
        ({"keys": {0: 3}}, {}, "3 keys in database 0 instead of 2"),
        ({"keys": {0: 3}}, {"expired_keys": "1"}, ""),
        ({"keys": {0: 2, 1: 1}}, {}, "1 keys in database 1 instead of 0"),
        ({"keys": {}}, {}, "0 keys in database 0 instead of 2"),
        ({"keys": {0: 9}}, {"rdb_changes_since_last_save": "7"}, ""),
        ({"keys": {0: 9}}, {"cluster_enabled": "1"}, ""),
        ({"keys": {0: 9}, "blind": "a type"}, {}, ""),
    ],
)
def test_what_file_and_server_tell_is_compared(contents: dict[str, Any], told: dict[str, str], problem: str) -> None:
    steady = {name: value for name, value in told.items() if name != "expired_keys"}
    after = State(TOLD | told | {"rdb_last_save_time": "1001"})
    proof = Proof(State(TOLD | steady), after, after, "redis at s")
    if not problem:
        return proof.assert_own(replace(FOUND, **contents))
    with pytest.raises(DumpFailed, match=problem.replace("+", r"\+")):
        proof.assert_own(replace(FOUND, **contents))
    return None


def test_a_save_meanwhile_leaves_time_and_replication() -> None:
    after, opened = State(TOLD | {"rdb_last_save_time": "1001"}), State(TOLD | {"rdb_last_save_time": "1005"})
    Proof(State(TOLD), after, opened, "redis at s").assert_own(replace(FOUND, aux={"ctime": "1005"}, keys={0: 9}))
