"""A throw-away Redis or Valkey server: one directory, a UNIX socket and a loopback port; the system is not touched."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError

from tests.engines.servers.roots import needed
from tests.places import free_port

PASSWORD = "pa ss'\"\\w"  # what a configuration must quote


def server_program(folder: Path | None = None) -> Path:
    """The server of this machine, Valkey's where there is no Redis."""
    folders = (str(folder),) if folder else ()
    return needed("redis-server", "valkey-server", package="redis-server", folders=folders)


def check_program() -> Path:
    """What reads a snapshot without loading it."""
    return needed("redis-check-rdb", "valkey-check-rdb", package="redis-server")


def quoted(text: object) -> str:
    """Quote a value for the configuration."""
    plain = (chr(b) if 0x20 < b < 0x7F and b not in b"\"'\\" else f"\\x{b:02x}" for b in str(text).encode())
    return f'"{"".join(plain)}"'


class RedisServer:
    """start(), stop(), kill(), close(); also a context manager. data: its directory (may have a hostile name) ·
    settings: more of its configuration · socket, port: where it listens.
    """

    def __init__(
        self, settings: Mapping[str, Any] | None = None, *, data: Path | None = None, folder: Path | None = None
    ) -> None:
        self.program = server_program(folder)
        self.root = Path(tempfile.mkdtemp(prefix="rsg-rd-", dir="/tmp"))
        self.data = data or self.root / "data"
        self.data.mkdir(exist_ok=True)
        self.socket = str(self.root / "s")
        self.port = free_port()
        self.log = self.root / "log"
        self.settings: dict[str, Any] = {"save": "", "repl-diskless-sync-delay": 0, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: dict[int, Redis] = {}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> RedisServer:
        lines = [
            f"dir {quoted(self.data)}",
            f"unixsocket {quoted(self.socket)}",
            "unixsocketperm 700",
            "bind 127.0.0.1",
            *([] if "tls-port" in self.settings else [f"port {self.port}"]),
            *(f"{name} {quoted(value) if value == '' else value}" for name, value in self.settings.items()),
        ]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [str(self.program), "-"], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/"
            )
        assert self._process.stdin is not None
        self._process.stdin.write("\n".join([*lines, ""]).encode())
        self._process.stdin.close()
        self._wait_ready()
        return self

    def _wait_ready(self) -> None:
        for _ in range(800):
            try:
                if self.client().info("persistence").get("loading") == 0:
                    return
            except (NoConnection, RedisError):
                pass
            if self._process is not None and self._process.poll() is not None:
                break
            time.sleep(0.025)
        raise AssertionError(f"the server did not start: {self.log.read_text(errors='replace')[-3000:]}")

    def client(self, database: int = 0) -> Redis:
        """A client over the socket, as the default user."""
        if database not in self._clients:
            password = self.settings.get("requirepass")
            self._clients[database] = Redis(
                unix_socket_path=self.socket,
                db=database,
                password=PASSWORD if password else None,
                protocol=2,
                socket_timeout=30,
            )
        return self._clients[database]

    def save(self) -> None:
        """Let it write its file, once a child that it has for a replica is gone."""
        for _ in range(400):
            if not self.client().info("persistence")["rdb_bgsave_in_progress"]:
                break
            time.sleep(0.025)
        self.client().save()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """SIGTERM lets it save what its settings tell; SIGKILL is a crash."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(number)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def freeze(self, *, thaw: bool = False) -> None:
        """Stop it and its children where they are."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in [self.pid, *map(int, children)]:
            subprocess.run(["kill", "-CONT" if thaw else "-STOP", str(pid)], check=False, timeout=10)

    def children(self) -> Iterable[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def content(server: RedisServer) -> dict[int, dict[bytes, tuple[bytes, object, int]]]:
    """Everything by value and type: database → key → (type, value, expiry in ms)."""
    found: dict[int, dict[bytes, tuple[bytes, object, int]]] = {}
    for name in server.client().info("keyspace"):
        number = int(str(name)[2:])
        client = server.client(number)
        keys = sorted(client.scan_iter(count=1000))
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.type(key)
            pipe.execute_command("PEXPIRETIME", key)
        told = pipe.execute()
        kinds = told[::2]
        for key, kind in zip(keys, kinds, strict=True):
            pipe.execute_command(*_VALUE.get(kind, (b"DUMP",)), key)
        found[number] = {
            key: (kind, _ordered(kind, value), int(expiry))
            for key, kind, expiry, value in zip(keys, kinds, told[1::2], pipe.execute(), strict=True)
            if value is not None
        }
    return {number: keys for number, keys in found.items() if keys}


# The order of these is the hash table's, whose seed is another one in each process; all others have an order.
_VALUE = {b"hash": ("HGETALL",), b"set": ("SMEMBERS",)}


def _ordered(kind: bytes, value: Any) -> object:
    if kind in _VALUE:
        return sorted(value.items()) if isinstance(value, dict) else sorted(value)
    return bytes(value)[:-10]  # without version and checksum


def functions(server: RedisServer) -> object:
    """The libraries with their code."""
    return server.client().execute_command("FUNCTION", "LIST", "WITHCODE")
