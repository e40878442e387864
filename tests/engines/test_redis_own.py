"""What is Redis' own: the ways to a snapshot, broken transfers, rights, TLS, users, expiry, restored directories."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from orchestrator.adapters.interrupts import Interrupts
from orchestrator.engines.redis import ENGINE, Options
from orchestrator.engines.redis.connection import connect, target_of
from orchestrator.engines.redis.crc64 import Crc64
from orchestrator.engines.redis.verify import contents_of
from orchestrator.model.engine import Item, Restored, Source
from orchestrator.model.errors import (
    DataDamaged,
    Interrupted,
    Precondition,
    ResguardoError,
    RestoreFailed,
    RightsMissing,
    ServerUnreachable,
    ToolMissing,
)
from orchestrator.model.execution import Executor, RemovePath
from orchestrator.model.secret import Secret
from orchestrator.model.waiting import poll
from tests.engines.conformance import PipeData, Taken, assert_told, errors, read_all, trailer_problem
from tests.engines.recording import RecordingUndo
from tests.engines.servers.docker import Box, DockerEngine
from tests.engines.servers.meddling import Meddler
from tests.engines.servers.redis import PASSWORD, RedisServer, check_program, content, functions
from tests.engines.servers.roots import needed
from tests.engines.test_redis import FAR, fill, source_of, started_on
from tests.places import free_port


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def data_item(source: Source) -> Item:
    return Item(source, "dump", "rdb")


def users_item(source: Source) -> Item:
    return Item(source, "users", "acl", role="globals")


def take(item: Item, at: Executor, undo: RecordingUndo) -> Taken:
    with ENGINE.dump(item, at, undo) as dump:
        data = read_all(dump.fd)
        return Taken(data, dump.finish(), dump.trailer)


def good(item: Item, at: Executor, undo: RecordingUndo) -> Taken:
    taken = take(item, at, undo)
    assert not taken.end.error
    assert not trailer_problem(taken.data, taken.trailer)
    assert taken.end.bytes == len(taken.data)
    return taken


def problem(item: Item, at: Executor, undo: RecordingUndo) -> str:
    """How taking an item failed; "" when it did not."""
    try:
        return take(item, at, undo).end.error
    except ResguardoError as error:
        assert_told(error)
        return f"{error.message} {error.hint}"


def bring(item: Item, data: bytes, to: Path, at: Executor, undo: RecordingUndo, *, damaged: bool = False) -> Restored:
    with PipeData(data, damaged=damaged) as pipe:
        return ENGINE.restore(item, pipe, str(to), at, undo)


def random_filling(server: RedisServer, keys: int = 3000) -> None:
    choice = random.Random(5)
    pipe = server.client().pipeline(transaction=False)
    for number in range(keys):
        pipe.set(f"key {number}", choice.randbytes(200))
    pipe.execute()


# --- the ways to a snapshot -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["replication", "cli", "bgsave"])
@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_every_way_brings_the_same(
    method: str, diskless: str, server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    server.client().config_set("repl-diskless-sync", diskless)
    fill(server)
    item = data_item(source_of(server, method=method))
    before = content(server), functions(server)
    began = datetime.now(UTC)
    taken = good(item, at, undo)
    assert taken.data[-9] == 0xFF
    assert taken.end.counts["db0"] == 21
    assert taken.end.counts["db9"] == 2
    assert taken.end.counts["db9 expiring"] == 1
    assert taken.end.counts["functions"] == 1
    assert taken.end.as_of is not None
    assert began - timedelta(seconds=1) <= taken.end.as_of <= datetime.now(UTC) + timedelta(seconds=1)
    bring(item, taken.data, tmp_path / "back", at, undo)
    with started_on(str(tmp_path / "back")) as restored:
        assert (content(restored), functions(restored)) == before
    assert not errors(ENGINE.verify(item, str(tmp_path / "back"), taken.end.counts, at, undo))


def test_plain_tools_restore_the_stored_file(
    server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    fill(server)
    (tmp_path / "dump.rdb").write_bytes(good(data_item(source_of(server)), at, undo).data)
    subprocess.run([str(check_program()), str(tmp_path / "dump.rdb")], check=True, capture_output=True, timeout=30)
    with RedisServer({"appendonly": "no"}, data=tmp_path) as restored:
        assert content(restored) == content(server)


def test_a_password_is_seen_by_nobody(server: RedisServer, at: Executor, undo: RecordingUndo) -> None:
    """While redis-cli runs, no process has it in its arguments or its environment."""
    random_filling(server, 20_000)
    server.client().execute_command("ACL", "SETUSER", "bk", "on", f">{PASSWORD}", "+sync", "+replconf", "+info")
    item = data_item(source_of(server, method="cli", user="bk", password={"env": "X"}))
    with ENGINE.dump(item, at, undo) as dump:
        (program,) = undo.living()
        seen = Path(f"/proc/{program.pid}/cmdline").read_bytes() + Path(f"/proc/{program.pid}/environ").read_bytes()
        assert b"--askpass" in seen
        assert PASSWORD.encode() not in seen
        read_all(dump.fd)
        assert not dump.finish().error


def test_a_server_without_checksums_is_told(at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    with RedisServer({"rdbchecksum": "no"}) as server:
        fill(server)
        item = data_item(source_of(server))
        taken = good(item, at, undo)
        assert taken.data.endswith(b"\xff" + bytes(8))
        (found,) = taken.end.findings
        assert (found.level, "no checksum" in found.message) == ("warning", True)
        bring(item, taken.data, tmp_path / "back", at, undo)
        assert not errors(ENGINE.verify(item, str(tmp_path / "back"), taken.end.counts, at, undo))


def test_an_empty_server_is_told(server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    item = data_item(source_of(server))
    taken = good(item, at, undo)
    assert taken.end.counts == {"keys": 0, "functions": 0}
    assert [found.level for found in taken.end.findings] == ["warning"]
    bring(item, taken.data, tmp_path / "back", at, undo)
    assert not errors(ENGINE.verify(item, str(tmp_path / "back"), taken.end.counts, at, undo))
    assert errors(ENGINE.verify(item, str(tmp_path / "back"), {"keys": 1, "functions": 0, "db0": 1}, at, undo))


def test_many_databases(at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    with RedisServer({"databases": 40}) as server:
        for number in (0, 15, 16, 39):
            server.client(number).set(f"in {number}", number)
        item = data_item(source_of(server))
        taken = good(item, at, undo)
        assert taken.end.counts == {"keys": 4, "functions": 0, "db0": 1, "db15": 1, "db16": 1, "db39": 1}
        bring(item, taken.data, tmp_path / "back", at, undo)
        assert not errors(ENGINE.verify(item, str(tmp_path / "back"), taken.end.counts, at, undo))
        assert errors(ENGINE.verify(item, str(tmp_path / "back"), {**taken.end.counts, "db39": 2}, at, undo))


def test_fields_that_expire(server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    """In a packed hash, and in one that is a table: both have layouts of their own."""
    client = server.client()
    client.hset("small", mapping={"a": 1, "b": 2})
    client.hset("large", mapping={f"field {n}": f"value {n}" for n in range(1000)})
    for key, field in (("small", "a"), ("large", "field 7")):
        try:
            client.execute_command("HPEXPIREAT", key, FAR, "FIELDS", 1, field)
        except ResponseError:
            pytest.skip("impossible here: fields of a hash expire in newer versions; scripts/test --matrix tests it")
    client.set("after", "x")
    item = data_item(source_of(server))
    taken = good(item, at, undo)
    assert taken.end.counts["db0"] == 3
    bring(item, taken.data, tmp_path / "back", at, undo)
    assert not errors(ENGINE.verify(item, str(tmp_path / "back"), taken.end.counts, at, undo))
    with started_on(str(tmp_path / "back")) as restored:
        assert content(restored) == content(server)
        for key, field, other in (("small", "a", "b"), ("large", "field 7", "field 8")):
            command = ("HPEXPIRETIME", key, "FIELDS", 2, field, other)
            assert restored.client().execute_command(*command) == [FAR, -1]


def test_vector_sets(server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    """Redis 8 keeps them as a module's values."""
    client = server.client()
    try:
        for number in range(300):
            client.execute_command("VADD", "vectors", "VALUES", 3, number, -number, 0.5, f"element {number}")
    except ResponseError:
        pytest.skip("impossible here: Redis 8 has vector sets; scripts/test --matrix tests it")
    client.set("after", "x")
    item = data_item(source_of(server))
    taken = good(item, at, undo)
    assert taken.end.counts["db0"] == 2
    bring(item, taken.data, tmp_path / "back", at, undo)
    assert not errors(ENGINE.verify(item, str(tmp_path / "back"), taken.end.counts, at, undo))
    with started_on(str(tmp_path / "back")) as restored:
        assert restored.client().execute_command("VCARD", "vectors") == 300
        element = ("VEMB", "vectors", "element 17")
        assert restored.client().execute_command(*element) == client.execute_command(*element)


# --- broken transfers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_cut_anywhere(diskless: str, server: RedisServer, at: Executor, undo: RecordingUndo) -> None:
    server.client().config_set("repl-diskless-sync", diskless)
    random_filling(server)
    size = len(good(data_item(source_of(server)), at, undo).data)
    seed = random.randrange(1 << 30)
    choice = random.Random(seed)
    for place in [*(choice.randrange(size) for _ in range(8)), 0, size + 10]:
        with Meddler(server.port, b"PSYNC", place) as meddler:
            item = data_item(source_of(server, socket=None, host="127.0.0.1", port=meddler.port))
            assert problem(item, at, undo), f"seed {seed}: cut after {place} of {size} bytes"
            assert meddler.done.is_set()


def test_one_bit_turned_anywhere(server: RedisServer, at: Executor, undo: RecordingUndo) -> None:
    random_filling(server)
    size = len(good(data_item(source_of(server)), at, undo).data)
    seed = random.randrange(1 << 30)
    choice = random.Random(seed)
    for place in [110, *(choice.randrange(110, size) for _ in range(9))]:
        with Meddler(server.port, b"PSYNC", place, flip=True) as meddler:
            item = data_item(source_of(server, socket=None, host="127.0.0.1", port=meddler.port, timeout=None))
            item = replace(item, source=replace(item.source, timeout=3.0))
            assert problem(item, at, undo), f"seed {seed}: a bit of byte {place} of {size} turned"
            assert meddler.done.is_set()


@pytest.mark.parametrize("method", ["replication", "cli", "bgsave"])
def test_a_frozen_server_holds_nobody(method: str, server: RedisServer, at: Executor, undo: RecordingUndo) -> None:
    fill(server, large=True)
    item = data_item(source_of(server, timeout=2.0, method=method))
    try:
        if method == "replication":
            with ENGINE.dump(item, at, undo) as dump:
                server.freeze()
                read_all(dump.fd)
                assert "no byte within" in dump.finish().error
        server.freeze()
        began = time.monotonic()
        assert problem(item, at, undo)
        assert time.monotonic() - began < 15
    finally:
        server.freeze(thaw=True)


def test_told_to_stop_while_a_server_is_silent(server: RedisServer, at: Executor, undo: RecordingUndo) -> None:
    interrupts = Interrupts()
    fill(server, large=True)
    item = data_item(replace(source_of(server), wait=interrupts.wait))
    with ENGINE.dump(item, at, undo) as dump:
        server.freeze()
        timer = threading.Timer(0.3, interrupts.trigger, args=(15,))
        timer.start()
        read_all(dump.fd)
        with pytest.raises(Interrupted):
            dump.finish()
        timer.join()
    server.freeze(thaw=True)


def test_told_to_stop_while_a_name_is_looked_up(server: RedisServer, at: Executor) -> None:
    """A resolver waits for its servers as long as it likes."""

    def told(fds: Iterable[int], seconds: float | None) -> set[int]:
        if seconds is None:
            raise Interrupted("told to stop")
        return poll(fds, seconds)

    source = source_of(server, socket=None, host="localhost", port=server.port)
    connect(target_of(source, at)).close()
    with pytest.raises(Interrupted):
        connect(target_of(replace(source, wait=told), at)).close()


def test_a_saving_child_that_dies_is_told(server: RedisServer, at: Executor, undo: RecordingUndo) -> None:
    fill(server, large=True)
    with ENGINE.dump(data_item(source_of(server)), at, undo) as dump:
        for child in server.children():
            os.kill(child, 9)
        read_all(dump.fd)
        assert dump.finish().error
    assert server.client().ping()


@pytest.mark.parametrize("damage", ["cut", "longer", "bit", "text", "empty"])
def test_damaged_data_make_no_directory(
    damage: str, server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    """Also where their digest is right: what was stored by another hand."""
    fill(server)
    item = data_item(source_of(server))
    data = good(item, at, undo).data
    bad = {
        "cut": data[:-9],
        "longer": data + b"x",
        "bit": data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
        "text": b"REDIS is a server",
        "empty": b"",
    }[damage]
    with pytest.raises(RestoreFailed) as caught:
        bring(item, bad, tmp_path / "back", at, undo)
    assert_told(caught.value)
    with pytest.raises((DataDamaged, RestoreFailed)):
        bring(item, bad, tmp_path / "back", at, undo, damaged=True)
    assert os.listdir(tmp_path) == []


# --- rights -----------------------------------------------------------------------------------------------------------


@contextmanager
def rights(server: RedisServer, *words: str) -> Iterator[dict[str, Any]]:
    server.client().execute_command("ACL", "SETUSER", "bk", "reset", "on", f">{PASSWORD}", *words)
    yield {"user": "bk", "password": {"env": "X"}}


@pytest.mark.parametrize(
    ("method", "needed"),
    [
        ("replication", ["+psync", "+replconf"]),
        ("cli", ["+sync", "+replconf"]),
        ("bgsave", ["+bgsave", "+info", "+config|get"]),
    ],
)
def test_the_least_rights(
    method: str, needed: list[str], server: RedisServer, at: Executor, undo: RecordingUndo
) -> None:
    """What the page names is enough; less than that is told by the probe, with the line that grants it."""
    fill(server)
    with rights(server, *needed) as given:
        source = source_of(server, method=method, **given)
        facts = ENGINE.probe(source, at, undo)
        assert not errors(facts.findings)
        assert good(data_item(source), at, undo).end.counts["keys"] == 23
        assert [item.name for item in facts.items] == ["dump"]
        assert "ACL SETUSER bk +acl|list" in str(facts.findings)
    for left_out in needed:
        if method == "cli" and left_out == "+sync":  # only the transfer itself can tell
            with rights(server, "+info", "+replconf") as given:
                _, hint = failure(data_item(source_of(server, method=method, **given)), at, undo)
            assert hint.startswith("ACL SETUSER bk +sync +replconf; then ACL SAVE")
            continue
        with rights(server, "+info", *(set(needed) - {left_out} - {"+info"})) as given:
            if left_out == "+info":
                continue
            with pytest.raises(RightsMissing) as caught:
                ENGINE.probe(source_of(server, method=method, **given), at, undo)
            assert_told(caught.value)
            assert str(caught.value.hint).startswith(f"ACL SETUSER bk {' '.join(needed)}; then ACL SAVE")
            assert "bk" in problem(data_item(source_of(server, method=method, **given)), at, undo) or method == "cli"


def failure(item: Item, at: Executor, undo: RecordingUndo) -> tuple[str, str]:
    """How taking an item failed, and what to do."""
    try:
        end = take(item, at, undo).end
    except ResguardoError as error:
        return error.message, str(error.hint)
    return end.error, str(end.findings[0].hint)


def test_another_kind_of_server_is_not_waited_for_long(
    at: Executor, undo: RecordingUndo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.engines.redis.connection.GREETING_LIMIT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = Options(port=silent.getsockname()[1])
        source = Source("s", "r", "redis", "t", 60.0, options, lambda _reference: Secret(""))
        with pytest.raises(ServerUnreachable, match=r"no byte within 0\.2 s") as caught:
            ENGINE.probe(source, at, undo)
    assert "correct host and port" in str(caught.value.hint)


def test_what_info_tells_is_known(server: RedisServer, at: Executor, undo: RecordingUndo) -> None:
    with rights(server, "+psync", "+replconf", "+info", "+acl|list") as given:
        facts = ENGINE.probe(source_of(server, **given), at, undo)
    assert facts.server.split()[0] in {"Redis", "Valkey"}
    assert facts.tool == ""
    assert [item.name for item in facts.items] == ["dump", "users"]
    assert facts.items[0].bytes
    assert facts.findings == ()


def test_versions_are_told(server: RedisServer, at: Executor, undo: RecordingUndo) -> None:
    facts = ENGINE.probe(source_of(server, method="cli"), at, undo)
    assert re.fullmatch(r"(Redis|Valkey) \d+\.\d+\.\d+", facts.server)
    assert re.fullmatch(r"(redis|valkey)-cli \d+\.\d+\.\d+", facts.tool)
    globals_off = source_of(server, globals=False)
    assert [item.name for item in ENGINE.probe(globals_off, at, undo).items] == ["dump"]


def test_replicas_are_told(server: RedisServer, at: Executor, undo: RecordingUndo) -> None:
    with RedisServer({"replicaof": f"127.0.0.1 {server.port}", "repl-diskless-load": "disabled"}) as replica:
        fill(server)
        for _ in range(200):
            if replica.client().info("replication")["master_link_status"] == "up":
                break
            time.sleep(0.05)
        assert server.client().wait(1, 10_000) == 1
        source = source_of(replica)
        assert "is a replica" in str(ENGINE.probe(source, at, undo).findings)
        assert good(data_item(source), at, undo).end.counts["keys"] == 23
        server.stop()
        for _ in range(200):
            if replica.client().info("replication")["master_link_status"] == "down":
                break
            time.sleep(0.05)
        with pytest.raises(Precondition, match="lost its source"):
            ENGINE.probe(source, at, undo)
        assert "NOMASTERLINK" in problem(data_item(source), at, undo)
        assert good(data_item(source_of(replica, method="bgsave")), at, undo).end.counts["keys"] == 23


def test_a_failed_save_is_told(server: RedisServer, at: Executor, undo: RecordingUndo) -> None:
    (server.data / "dump.rdb").mkdir()
    (server.data / "dump.rdb" / "in the way").touch()
    server.client().set("a", "b")
    assert "could not save: err" in problem(data_item(source_of(server, method="bgsave")), at, undo)
    assert good(data_item(source_of(server)), at, undo).end.counts["keys"] == 1


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, another one, and a server's certificate for the name localhost."""
    folder = tmp_path_factory.mktemp("tls")

    program = str(needed("openssl", package="openssl"))

    def openssl(*words: str) -> None:
        subprocess.run([program, *words], check=True, capture_output=True, timeout=60, cwd=folder)

    for name in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")  # fmt: skip
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
            "-keyout", "server.key", "-out", "server.csr")  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2",
            "-extfile", "names", "-out", "server.crt")  # fmt: skip
    return folder


OURS = {"ca": "ca.crt", "cert": "server.crt", "key": "server.key"}


def test_tls(certificates: Path, at: Executor, undo: RecordingUndo) -> None:
    port = free_port()
    files = {name: certificates / name for name in ("server.crt", "server.key", "ca.crt", "other.crt")}
    settings = {
        "port": 0,
        "tls-port": port,
        "tls-cert-file": files["server.crt"],
        "tls-key-file": files["server.key"],
        "tls-ca-cert-file": files["ca.crt"],
    }
    ours = {"cert": str(files["server.crt"]), "key": str(files["server.key"])}
    with RedisServer(settings) as server:
        fill(server, large=True)

        def source(host: str = "localhost", method: str = "replication", **tls: str) -> Source:
            return source_of(server, socket=None, host=host, port=port, method=method, tls={**ours, **tls})

        right = [
            source(ca=str(files["ca.crt"])),
            source("127.0.0.1", mode="verify-ca", ca=str(files["ca.crt"])),
            source("127.0.0.1", mode="require"),
            source("127.0.0.1"),
            source(method="cli", ca=str(files["ca.crt"])),
        ]
        for given in right:
            assert good(data_item(given), at, undo).end.counts["keys"] == 23 + 96
        wrong = [
            source("127.0.0.1", ca=str(files["ca.crt"])),
            source(ca=str(files["other.crt"])),
            source(mode="verify-ca", ca=str(files["other.crt"])),
            source(mode="disable"),
        ]
        for given in wrong:
            with pytest.raises(ServerUnreachable) as caught:
                ENGINE.probe(replace(given, timeout=2.0), at, undo)
            assert_told(caught.value)
        without = source_of(server, socket=None, host="localhost", port=port, tls={"ca": str(files["ca.crt"])})
        assert problem(data_item(without), at, undo)


def test_files_of_tls_are_this_hosts_with_a_container(certificates: Path, sidecar: Box, undo: RecordingUndo) -> None:
    """Also where redis-cli runs in a container, which does not see them."""
    port = free_port()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        ours = {key: shutil.copy(certificates / name, folder) for key, name in OURS.items()}
        settings = {"port": 0, "tls-port": port, "tls-cert-file": ours["cert"], "tls-key-file": ours["key"]}
        with RedisServer({**settings, "tls-ca-cert-file": ours["ca"]}) as server:
            fill(server)
            source = source_of(server, socket=None, container="c", port=port, method="cli", tls=ours)
            assert not sidecar.executor().exists(ours["ca"])
            assert good(data_item(source), sidecar.executor(), undo).end.counts["keys"] == 23
            os.unlink(ours["key"])
            assert f"{ours['key']}: cannot be read" in problem(data_item(source), sidecar.executor(), undo)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"host": "h", "tls": {"mode": "prefer"}}, "prefer"),
        ({"socket": "/s", "tls": {"mode": "require"}}, "socket"),
        ({"method": "magic"}, "method"),
    ],
)
def test_refused_options(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Options.model_validate(given, context={"directory": "/"})


# --- users ------------------------------------------------------------------------------------------------------------


def test_only_missing_users_are_created(server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    client = server.client()
    client.execute_command("ACL", "SETUSER", "kept", "on", ">one", "~a:*", "+get")
    client.execute_command("ACL", "SETUSER", "lost", "on", ">two", "~b:*", "&c*", "+@read", "-get")
    client.execute_command("ACL", "SETUSER", "selecting", "on", "nopass", "(~x* +set)", ["%R~y*", "+get"][0], "+ping")
    before = client.execute_command("ACL", "LIST")
    item = users_item(source_of(server))
    taken = good(item, at, undo)
    assert taken.end.counts == {"user default": 1, "user kept": 1, "user lost": 1, "user selecting": 1}
    client.execute_command("ACL", "DELUSER", "lost", "selecting")
    client.execute_command("ACL", "SETUSER", "kept", "-get")
    restored = bring(item, taken.data, tmp_path / "users.acl", at, undo)
    levels = [found.message for found in restored.findings]
    assert [word for word in ("kept", "lost", "selecting") if f"user '{word}' was created" in str(levels)] == [
        "lost",
        "selecting",
    ]
    assert "user 'kept' is there with other rights" in str(levels)
    now = client.execute_command("ACL", "LIST")
    assert [line for line in now if b"kept" not in line] == [line for line in before if b"kept" not in line]
    assert not errors(ENGINE.verify(item, restored.name, taken.end.counts, at, undo))
    client.execute_command("ACL", "DELUSER", "lost")
    assert "'user lost' is not on the server" in str(ENGINE.verify(item, restored.name, taken.end.counts, at, undo))
    with RedisServer({"aclfile": restored.name}) as other:
        assert sorted(other.client().execute_command("ACL", "LIST")) == sorted(before)


def test_users_without_a_server_are_a_file(
    server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    item = users_item(source_of(server))
    taken = good(item, at, undo)
    server.stop()
    restored = bring(item, taken.data, tmp_path / "users.acl", at, undo)
    assert [found.level for found in restored.findings] == ["warning"]
    assert Path(restored.name).read_bytes() == taken.data
    assert Path(restored.name).stat().st_mode & 0o777 == 0o600
    assert not errors(ENGINE.verify(item, restored.name, taken.end.counts, at, undo))
    with pytest.raises(RestoreFailed, match="exists already"):
        bring(item, taken.data, tmp_path / "users.acl", at, undo)
    with pytest.raises(RestoreFailed, match="are not users"):
        bring(item, b"SET a b\n", tmp_path / "other.acl", at, undo)
    assert os.listdir(tmp_path) == ["users.acl"]
    (removal,) = [action for action in undo.actions.values() if isinstance(action, RemovePath)]
    assert Path(removal.path).parent == tmp_path  # a run that is killed leaves no half file
    assert removal.path.endswith(".part")


# --- expiry, append-only files, directories ---------------------------------------------------------------------------


def test_keys_whose_time_is_over_are_no_difference(
    server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    """Counted when they were dumped, they are still in the directory, and gone for whoever asks a server for them."""
    client = server.client()
    client.set("stays", "x")
    client.set("later", "x", pxat=FAR)
    for number in range(50):
        client.set(f"soon {number}", "x", px=1500)
    item = data_item(source_of(server))
    taken = good(item, at, undo)
    assert taken.end.counts == {"keys": 52, "functions": 0, "db0": 52, "db0 expiring": 51}
    bring(item, taken.data, tmp_path / "back", at, undo)
    time.sleep(1.6)
    assert not errors(ENGINE.verify(item, str(tmp_path / "back"), taken.end.counts, at, undo))
    with started_on(str(tmp_path / "back")) as restored:
        assert sorted(restored.client().scan_iter()) == [b"later", b"stays"]
        assert restored.client().execute_command("PEXPIRETIME", "later") == FAR


def test_keys_in_the_past_come_and_go_as_they_are(at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    """A server that does not clean up holds keys whose time is over: they are dumped as they are."""
    with RedisServer({"enable-debug-command": "yes"}) as server:
        server.client().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        server.client().set("over", "x", px=1)
        server.client().set("stays", "x")
        time.sleep(0.01)
        item = data_item(source_of(server))
        taken = good(item, at, undo)
        assert taken.end.counts["db0"] == 2
        bring(item, taken.data, tmp_path / "back", at, undo)
        assert not errors(ENGINE.verify(item, str(tmp_path / "back"), taken.end.counts, at, undo))


def test_a_server_with_an_append_only_file(at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    """The restored directory serves it, is rewritten by it, and starts again."""
    with RedisServer({"appendonly": "yes"}) as server:
        fill(server)
        before = content(server)
        item = data_item(source_of(server))
        taken = good(item, at, undo)
        bring(item, taken.data, tmp_path / "back", at, undo)
    with RedisServer({"appendonly": "yes"}, data=tmp_path / "back") as restored:
        assert content(restored) == before
        restored.client().set("new", "key")
        restored.client().bgrewriteaof()
        for _ in range(200):
            if not restored.client().info("persistence")["aof_rewrite_in_progress"]:
                break
            time.sleep(0.05)
        restored.stop()
        restored.start()
        assert content(restored)[0].keys() == before[0].keys() | {b"new"}
        assert contents_of(str(tmp_path / "back" / "dump.rdb")).total == taken.end.counts["keys"]


def test_in_place_keeps_the_kind_of_file_that_the_server_uses(
    server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    fill(server)
    (server.data / "nodes.conf").write_text("a cluster's")
    item = data_item(source_of(server))
    taken = good(item, at, undo)
    server.save()
    server.stop()
    restored = bring(item, taken.data, tmp_path / "back", at, undo)
    kept = ENGINE.swap(item, restored.name, str(server.data) + "_before_X", at, undo)
    assert os.listdir(server.data) == ["dump.rdb"]
    assert "nodes.conf" in str(kept.findings)
    assert sorted(os.listdir(str(kept.name))) == ["dump.rdb", "nodes.conf"]
    assert (restored.findings, "appendonlydir" in str(restored.beside)) == ((), True), "true of a copy alone"
    os.rename(server.data, tmp_path / "lost")
    again = bring(item, taken.data, tmp_path / "again", at, undo)
    kept = ENGINE.swap(item, again.name, str(server.data) + "_before_Y", at, undo)
    assert (kept.name, sorted(os.listdir(server.data))) == (None, ["appendonlydir", "dump.rdb"])
    assert f"{str(server.data)!r}: a server with" in str([finding.message for finding in kept.findings])


def test_in_place_needs_a_stopped_server(
    server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    fill(server)
    item = data_item(source_of(server))
    taken = good(item, at, undo)
    (found,) = ENGINE.original(item, at).findings
    assert (found.level, "is running" in found.message) == ("error", True)
    bring(item, taken.data, tmp_path / "back", at, undo)
    with pytest.raises(Precondition, match="is running") as caught:
        ENGINE.swap(item, str(tmp_path / "back"), str(tmp_path / "kept"), at, undo)
    assert_told(caught.value)
    elsewhere = data_item(source_of(server, socket=None, host="127.0.0.1", port=1))
    (found,) = ENGINE.original(elsewhere, at).findings
    assert "working directory of redis-server" in found.message or "valkey" in found.message
    with pytest.raises(Precondition, match="working directory"):
        ENGINE.swap(elsewhere, str(tmp_path / "back"), str(tmp_path / "kept"), at, undo)
    server.stop()
    assert ENGINE.original(item, at).findings == ()
    assert ENGINE.originals(item.source) == {"dump": str(server.data)}
    assert ENGINE.originals(source_of(server, directory=None)) == {}


def test_a_server_that_refuses_us_is_running_all_the_same(
    server: RedisServer, at: Executor, undo: RecordingUndo
) -> None:
    server.client().config_set("requirepass", "other")
    for more in ({}, {"password": {"env": "X"}}):
        item = data_item(source_of(server, **more))
        (found,) = ENGINE.original(item, at).findings
        assert (found.level, "its server is running" in found.message) == ("error", True)


def test_what_cannot_be_told_is_not_stopped(
    server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    """Only a connection that is refused, or a socket that is not there, tells that nobody writes that directory."""
    fill(server)
    item = data_item(source_of(server))
    bring(item, good(item, at, undo).data, tmp_path / "back", at, undo)

    def missing(_: object) -> Secret:
        raise RightsMissing("the secret cannot be read", "make it readable")

    frozen = source_of(server, timeout=0.5)
    secret = replace(source_of(server, password={"env": "X"}), resolve=missing)
    untrusted = source_of(server, socket=None, host="localhost", port=server.port, tls={"ca": str(tmp_path / "ca")})
    elsewhere = str(tmp_path / "elsewhere")  # so that no process works in it
    os.mkdir(elsewhere)
    server.freeze()
    try:
        for source in (frozen, secret, untrusted):
            options = source.options.model_copy(update={"directory": elsewhere})
            item = data_item(replace(source, options=options))
            (found,) = ENGINE.original(item, at).findings
            assert found.level == "error"
            assert "it cannot be told whether its server is stopped: " in found.message
            assert (found.hint or "").endswith("; then stop the server first")
            with pytest.raises(Precondition, match="it cannot be told") as caught:
                ENGINE.swap(item, str(tmp_path / "back"), str(tmp_path / "kept"), at, undo)
            assert_told(caught.value)
            assert sorted(os.listdir(tmp_path)) == ["back", "elsewhere"]
    finally:
        server.freeze(thaw=True)


def test_a_snapshot_of_an_old_version_gets_an_old_append_only_file(
    server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    fill(server)
    item = data_item(source_of(server))
    taken = good(item, at, undo)
    told = server.client().info("server")
    if "valkey_version" in told:
        pytest.skip("does not apply: Valkey has no version before 7")
    version = str(told["redis_version"]).encode()
    old = taken.data[:-8].replace(bytes([len(version)]) + version, b"\x056.2.6", 1)
    made = Crc64()
    made.update(old)
    bring(item, old + made.value.to_bytes(8, "little"), tmp_path / "back", at, undo)
    assert sorted(os.listdir(tmp_path / "back")) == ["appendonly.aof", "dump.rdb"]
    assert (tmp_path / "back" / "appendonly.aof").stat().st_nlink == 1
    assert not errors(ENGINE.verify(item, str(tmp_path / "back"), taken.end.counts, at, undo))
    with RedisServer({"appendonly": "yes"}, data=tmp_path / "back") as restored:
        assert content(restored) == content(server)


def test_the_owner_of_the_servers_directory_is_given(
    server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("impossible here: only root gives files away")
    item = data_item(source_of(server))
    taken = good(item, at, undo)
    shutil.chown(server.data, 1234, 1235)
    bring(item, taken.data, tmp_path / "back", at, undo)
    for path in [tmp_path / "back", *(tmp_path / "back").rglob("*")]:
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1235)


def test_without_a_server_to_try_it_is_read(
    server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    fill(server)
    for more in ({"trial": "never"}, {"tools": str(tmp_path)}):
        item = data_item(source_of(server, **more))
        taken = good(item, at, undo)
        back = tmp_path / f"back {len(os.listdir(tmp_path))}"
        bring(item, taken.data, back, at, undo)
        findings = ENGINE.verify(item, str(back), taken.end.counts, at, undo)
        assert [found.level for found in findings] == ["info"]
        with started_on(str(back), in_place=True) as changed:
            changed.client().delete("number")
        assert "was written to" in str(errors(ENGINE.verify(item, str(back), taken.end.counts, at, undo)))


def test_a_directory_that_starts_empty_fails(
    server: RedisServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    """What a server with an append-only file makes of a snapshot alone: no keys."""
    fill(server)
    item = data_item(source_of(server))
    taken = good(item, at, undo)
    bring(item, taken.data, tmp_path / "back", at, undo)
    with RedisServer() as empty:
        nothing = good(data_item(source_of(empty)), at, undo).data
    (tmp_path / "back" / "appendonlydir" / "appendonly.aof.1.base.rdb").unlink()
    (tmp_path / "back" / "appendonlydir" / "appendonly.aof.1.base.rdb").write_bytes(nothing)
    found = errors(ENGINE.verify(item, str(tmp_path / "back"), taken.end.counts, at, undo))
    assert "does not hold what dump.rdb does" in str(found)
    assert "with no keys" in str(found)


# --- inside a container -----------------------------------------------------------------------------------------------


_SETTINGS = ("--repl-diskless-sync-delay", "0", "--requirepass", "canary")


@contextmanager
def inside(engine: DockerEngine) -> Iterator[Any]:
    command = ["/usr/bin/redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data", "--save", ""]
    with engine.container([*command, *_SETTINGS], user="redis", memory=["/data"]) as box:
        client = Redis(host=box.address, password="canary", protocol=2, socket_timeout=20, socket_connect_timeout=1)
        for _ in range(400):
            try:
                client.ping()
                break
            except Exception:  # noqa: BLE001 - it is starting
                time.sleep(0.025)
        pipe = client.pipeline(transaction=False)
        for number in range(64):
            pipe.set(f"key {number}", os.urandom(1 << 18))
        pipe.execute()
        yield box, client
        client.close()


def contained(**more: Any) -> Source:
    given = {"container": "c", "password": {"env": "X"}, **more}
    options = Options.model_validate(given, context={"directory": "/"})
    return Source("shop", "main", "redis", "default", 20.0, options, lambda _ref: Secret("canary"), container="c")


@pytest.mark.parametrize("method", ["replication", "cli", "bgsave"])
def test_inside_a_container(method: str, docker_engine: DockerEngine, undo: RecordingUndo, tmp_path: Path) -> None:
    """Its port is reached from here; tools run inside; the restored directory is on this host, where it is read."""
    with inside(docker_engine) as (box, client):
        at, item = box.executor(), data_item(contained(method=method))
        assert not errors(ENGINE.probe(item.source, at, undo).findings)
        with ENGINE.dump(item, at, undo) as dump:
            assert "canary" not in str([line for line in box.processes() if "redis-server" not in line])
            data = read_all(dump.fd)
            taken = Taken(data, dump.finish(), dump.trailer)
        assert taken.end.error == ""
        assert taken.end.counts["db0"] == 64
        bring(item, taken.data, tmp_path / "back", at, undo)
        findings = ENGINE.verify(item, str(tmp_path / "back"), taken.end.counts, at, undo)
        assert not errors(findings)
        assert "no server was started" in str(findings)
        assert client.dbsize() == 64


@pytest.mark.parametrize("fault", ["kill", "pause"])
@pytest.mark.parametrize("method", ["replication", "cli", "bgsave"])
def test_a_container_that_is_stopped_midway(
    method: str, fault: str, docker_engine: DockerEngine, undo: RecordingUndo
) -> None:
    with inside(docker_engine) as (box, _):
        item = data_item(replace(contained(method=method), timeout=2.0))
        with ENGINE.dump(item, box.executor(), undo) as dump:
            assert os.read(dump.fd, 100)
            getattr(box, fault)()
            read_all(dump.fd)
            assert dump.finish().error
        if fault == "pause":
            box.unpause()


def test_in_place_with_a_stopped_container(docker_engine: DockerEngine, undo: RecordingUndo, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    shutil.chown(data, "redis", "redis")
    with inside(docker_engine) as (box, _):
        at = box.executor()
        source = contained(directory=str(data))
        item = data_item(source)
        taken = good(item, at, undo)
        assert [found.level for found in ENGINE.original(item, at).findings] == ["error"]
        box.pause()
        (found,) = ENGINE.original(item, at).findings
        assert "it cannot be told" in found.message
        box.unpause()
        box.stop()
        assert ENGINE.original(item, at).findings == ()
        bring(item, taken.data, tmp_path / "new", at, undo)
        assert not errors(ENGINE.verify(item, str(tmp_path / "new"), taken.end.counts, at, undo))
        kept = ENGINE.swap(item, str(tmp_path / "new"), str(tmp_path / "kept"), at, undo)
        assert kept.name == str(tmp_path / "kept")
        assert contents_of(str(data / "dump.rdb")).counts == taken.end.counts
        assert (data / "dump.rdb").owner() == "redis"


def test_a_container_without_tools(docker_engine: DockerEngine, undo: RecordingUndo, tmp_path: Path) -> None:
    with docker_engine.container(["/bin/busybox", "sleep", "60"], image="scratch") as box:
        at = box.executor()
        with pytest.raises(ToolMissing, match="redis-cli"):
            ENGINE.probe(contained(method="cli"), at, undo)
        with pytest.raises(ServerUnreachable):
            ENGINE.probe(contained(), at, undo)
