"""The engine redis: the conformance suite on a real server, on the host and from inside a container."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from orchestrator.engines import load
from orchestrator.engines.redis import Options
from orchestrator.model.engine import Engine, Item, Kept, Source
from orchestrator.model.errors import (
    ResguardoError,
    RightsMissing,
    ServerUnreachable,
    ToolMissing,
)
from orchestrator.model.execution import Executor
from orchestrator.model.secret import Secret
from tests.engines.conformance import HANDFUL, StreamConformance, read_all
from tests.engines.recording import RecordingUndo
from tests.engines.servers.redis import PASSWORD, RedisServer, content, functions

LIBRARY = "#!lua name=shop\nredis.register_function('total', function(keys, args) return #keys end)"
FAR = 4102444800000  # 2100, in ms


def options(server: RedisServer, **more: Any) -> Options:
    given = {"socket": server.socket, "directory": str(server.data)} | more
    given = {key: value for key, value in given.items() if value is not None}
    return Options.model_validate(given, context={"directory": "/"})


def source_of(server: RedisServer, secret: str = PASSWORD, timeout: float = 60.0, **more: Any) -> Source:
    return Source("shop", "main", "redis", "default", timeout, options(server, **more), lambda _ref: Secret(secret))


def fill(server: RedisServer, *, large: bool = False) -> None:
    """One of every type, small and large enough for each of its encodings, in several databases."""
    one, two = server.client(0), server.client(9)
    pipe = one.pipeline(transaction=False)
    pipe.set(b"string \x00\xff\n", b"value \x00\r\n")
    pipe.set("number", 123456789012)
    pipe.set("small", -5)
    pipe.set("packed", "a" * 5000)
    pipe.set("later", "x", pxat=FAR)
    pipe.hset("hash", mapping={"a": 1, b"\xff\x00": b"\x00", "": ""})
    pipe.hset("large hash", mapping={f"field {n}": f"value {n}" for n in range(1000)})
    pipe.rpush("list", "a", b"\x00", 3, "x" * 200)
    pipe.rpush("large list", *range(5000))
    pipe.sadd("integers", *range(100))
    pipe.sadd("many integers", *range(2000))
    pipe.sadd("set", "a", b"\x00", "")
    pipe.sadd("large set", *(f"member {n}" for n in range(1000)))
    pipe.zadd("sorted", {"a": 1.5, b"\x00": float("inf"), "c": float("-inf"), "d": 0.1})
    pipe.zadd("large sorted", {f"member {n}": n / 7 for n in range(1000)})
    pipe.pfadd("cardinality", *range(500))
    pipe.geoadd("places", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))
    pipe.setbit("bits", 70000, 1)
    pipe.execute_command("BITFIELD", "fields", "SET", "u8", 3, 200)
    pipe.hset("account", mapping={f"holder {n}": 100 for n in range(20)})
    for n in range(120):
        pipe.xadd("stream", {"n": n, b"\x00": b"\xff"}, id=f"{n + 1}-1")
    pipe.execute()
    one.xdel("stream", "7-1")
    one.xgroup_create("stream", "readers", id="0")
    one.xgroup_create("stream", b"other\x00", id="$")
    one.xgroup_createconsumer("stream", "readers", "idle")
    one.xreadgroup("readers", "busy", {"stream": ">"}, count=30)
    one.xack("stream", "readers", "1-1", "2-1")
    one.execute_command("FUNCTION", "LOAD", "REPLACE", LIBRARY)
    two.set("in another database", "y")
    two.set("too", "y", pxat=FAR)
    if large:
        for n in range(96):
            one.set(f"bulk {n}", os.urandom(1 << 18))


class Stopping:
    """The engine; before a swap the server is stopped, having saved, as a user has to do it."""

    def __init__(self, engine: Engine, server: RedisServer) -> None:
        self._engine = engine
        self._server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def swap(self, item: Item, to: str, kept: str, at: Executor, undo: RecordingUndo) -> Kept:
        if self._server.running:
            self._server.save()
            self._server.stop()
        return self._engine.swap(item, to, kept, at, undo)


@contextmanager
def started_on(folder: str, *, in_place: bool = False) -> Iterator[RedisServer]:
    """Start a server on a restored directory (or on a copy of it), with an append-only file, as its user would."""
    with tempfile.TemporaryDirectory(prefix="rsg-rd-") as scratch:
        place = folder if in_place else shutil.copytree(folder, f"{scratch}/d")
        aof = "yes" if os.path.isdir(f"{place}/appendonlydir") else "no"
        with RedisServer({"appendonly": aof}, data=Path(place)) as server:
            yield server
            server.stop()


class TestRedis(StreamConformance):
    engine_name = "redis"
    handful = HANDFUL
    places: ClassVar[tuple[str, ...]] = ("host", "container")
    broken: ClassVar[Mapping[str, type[ResguardoError] | None]] = {
        "no server": ServerUnreachable,
        "no socket": ServerUnreachable,
        "another protocol": ServerUnreachable,
        "no password": RightsMissing,
        "wrong password": RightsMissing,
        "no such user": RightsMissing,
        "no right to psync": RightsMissing,
        "no right to replconf": RightsMissing,
        "no right to bgsave": RightsMissing,
        "no redis-cli": ToolMissing,
        "tls where there is none": ServerUnreachable,
    }

    server: RedisServer

    @property
    def engine(self) -> Engine:
        return cast("Engine", Stopping(load(self.engine_name), self.server))

    def test_registry_knows_it(self) -> None:
        assert load(self.engine_name).name == "redis"

    def test_unknown_options_are_refused(self) -> None:
        with pytest.raises(ValueError, match="no_such_option"):
            Options.model_validate({"no_such_option": 1}, context={"directory": "/"})

    @contextmanager
    def make_source(self, tmp: Path, *, name: str = "shop", large: bool = False) -> Iterator[Source]:
        with RedisServer(data=tmp / name) as self.server:
            fill(self.server, large=large)
            yield source_of(self.server, globals=False)

    @contextmanager
    def make_broken(self, label: str, tmp: Path) -> Iterator[Source]:
        settings = {"requirepass": '"pa ss\'\\"\\\\w"'} if label in {"no password", "wrong password"} else {}
        with RedisServer(settings) as self.server:
            client = self.server.client()
            client.set("a", "b")
            client.execute_command("ACL", "SETUSER", "bk", "on", ">secret", "-@all", "+ping", "+info", "+config|get")
            weak: dict[str, Any] = {"user": "bk", "password": {"env": "X"}}
            more: dict[str, Any] = {}
            if label == "no server":
                more = {"socket": None, "host": "127.0.0.1", "port": 1}
            elif label == "no socket":
                more = {"socket": str(tmp / "absent")}
            elif label == "wrong password":
                more = {"password": {"env": "X"}}
            elif label == "no such user":
                more = weak | {"user": "absent"}
            elif label.startswith("no right to"):
                word = label.rpartition(" ")[2]
                rights = {"+psync", "+replconf", "+bgsave"} - {f"+{word}"}
                client.execute_command("ACL", "SETUSER", "bk", *sorted(rights))
                more = weak | {"method": "bgsave" if word == "bgsave" else "replication"}
            elif label == "no redis-cli":
                more = {"method": "cli", "tools": str(tmp)}
            elif label == "tls where there is none":
                more = {"socket": None, "host": "127.0.0.1", "port": self.server.port, "tls": {"mode": "require"}}
            with other_server(label) as port:
                if port:
                    more = {"socket": None, "host": "127.0.0.1", "port": port}
                secret, timeout = "secret" if "user" in more else "wrong", 1.0 if "tls" in more else 60.0
                yield source_of(self.server, secret, timeout, globals=False, **more)

    def item_of(self, source: Source) -> Item:
        return Item(source, "dump", "rdb")

    def new_name(self, tmp: Path, name: str) -> str:
        return str(tmp / name)

    def exists(self, item: Item, name: str) -> bool:
        return os.path.lexists(name)

    def fingerprint(self, item: Item, name: str | None) -> object:
        if name is None and self.server.running:
            return content(self.server), functions(self.server)
        with started_on(name or item.source.options.directory) as server:
            return content(server), functions(server)

    def change_original(self, item: Item) -> None:
        if not self.server.running:
            self.server.start()
        self.server.client().set("number", "changed")

    def plant_difference(self, item: Item, name: str) -> None:
        with started_on(name, in_place=True) as server:
            assert server.client(9).delete("too") == 1

    def state(self, source: Source) -> object:
        client = self.server.client()
        keyspace = {name: {**found, "avg_ttl": 0} for name, found in client.info("keyspace").items()}
        users = sorted(client.execute_command("ACL", "LIST"))
        return (
            keyspace,
            client.config_get("*"),
            users,
            sorted(os.listdir(self.server.data)),
            client.info("persistence")["rdb_changes_since_last_save"],
        )

    def lasting(self, data: bytes) -> bytes:
        """Without the facts about the moment, and the checksum that covers them."""
        number = rb"(?:\xc0.|\xc1..|\xc2....|\x0a[0-9]{10}|[\x0b-\x14][0-9]+)"
        for name in (b"\x05ctime", b"\x08used-mem", b"\x0brepl-offset"):
            data = re.sub(rb"\xfa" + name + number, b"", data, count=1, flags=re.DOTALL)
        return re.sub(rb"\xfa\x07repl-id\x28.{40}", b"", data, count=1, flags=re.DOTALL)[:-8]

    @contextmanager
    def write_load(self, item: Item) -> Iterator[Callable[[], int]]:
        """Two threads move amounts and append to a list in one transaction: the sum stays, the list tells how many."""
        over, done, first = threading.Event(), [0, 0], threading.Barrier(3)

        def write(number: int) -> None:
            client = self.server.client(0)
            first.wait(20)
            while not over.is_set():
                pipe = client.pipeline(transaction=True)
                pipe.hincrby("account", f"holder {done[number] % 10}", -3)
                pipe.hincrby("account", f"holder {10 + done[number] * 7 % 10}", 3)
                pipe.rpush("moves", f"{number} {done[number]}")
                pipe.set(f"move {number} {done[number]}", "x")
                pipe.execute()
                done[number] += 1

        threads = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        try:
            first.wait(20)
            yield lambda: sum(done)
        finally:
            over.set()
            for thread in threads:
                thread.join(20)

    def assert_invariant(self, item: Item, name: str) -> None:
        with started_on(name) as server:
            client = server.client()
            amounts = [int(amount) for amount in client.hvals("account")]
            assert sum(amounts) == 2000
            moves = client.llen("moves")
            assert sum(int(client.hget("account", f"holder {n}")) - 100 for n in range(10, 20)) == 3 * moves
            assert sum(1 for _ in client.scan_iter("move [01] *", count=1000)) == moves

    # --- the producer is a thread of ours, and no process ----------------------------------------------------------

    def test_dump_stopped_midway_leaves_nothing(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        with self.large_dump(at, undo, tmp_path):
            assert [thread for thread in threading.enumerate() if thread.name == "redis-dump"]
        assert not [thread for thread in threading.enumerate() if thread.name == "redis-dump"]
        undo.assert_clean()

    def test_killed_producer_is_told(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        with self.large_dump(at, undo, tmp_path) as dump:
            self.server.kill()
            read_all(dump.fd)
            assert dump.finish().error
            self.server.start()


@contextmanager
def other_server(label: str) -> Iterator[int]:
    """Something that listens and is no Redis; 0 for other labels."""
    if label != "another protocol":
        yield 0
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in range(2):
                made, _ = listener.accept()
                with made:
                    made.recv(100)
                    made.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join(5)
