"""A throw-away PostgreSQL server: one directory, a UNIX socket and a loopback port; the system is not touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from tests.places import free_port

SUPERUSER = "postgres"
PASSWORD = "su per:se\\cret"  # what a password file must escape
_HBA = """local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""


def newest_binaries() -> Path:
    """Directory of the newest installed server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise FileNotFoundError("no PostgreSQL server below /usr/lib/postgresql: install postgresql")
    return found[-1].parent


class PostgresServer:
    """start() makes the cluster when needed; stop() keeps it; close() removes it. Also a context manager.

    port, socket: where it listens (socket is a directory) · settings: lines of postgresql.conf · memory: keep the data
    in /dev/shm. Over TCP the superuser needs PASSWORD, over the socket nobody needs one.
    """

    def __init__(self, settings: Iterable[str] = (), *, memory: bool = False, binaries: Path | None = None) -> None:
        self.bin = binaries or newest_binaries()
        folder = "/dev/shm" if memory and os.access("/dev/shm", os.W_OK) else "/tmp"
        self.root = Path(tempfile.mkdtemp(prefix="rsg-pg-", dir=folder))
        self.data = self.root / "data"
        self.socket = str(self.root)
        self.port = free_port()
        self.log = self.root / "log"
        self._settings = tuple(settings)
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(self.root, "postgres", "postgres")

    @property
    def pid(self) -> int:
        """The postmaster's."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> PostgresServer:
        if not self.data.exists():
            self._init()
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.socket,
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "shared_buffers": "64MB",
            "max_connections": "60",
        }
        argv = [str(self.bin / "postgres"), "-D", str(self.data)]
        argv += [f"--{key}={value}" for key, value in options.items()]
        argv += [f"--{setting}" for setting in self._settings]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(self._as_owner(argv), stdout=log, stderr=log, cwd="/")
        self._wait_ready()
        return self

    def stop(self, mode: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is a fast shutdown, SIGTERM waits for clients, SIGQUIT is like a crash."""
        if self._process is None:
            return
        self._process.send_signal(mode)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(20)
        self._process = None

    def kill(self) -> None:
        """Crash it: SIGQUIT ends all of its processes at once, without a checkpoint."""
        self.stop(signal.SIGQUIT)

    def freeze(self, *, thaw: bool = False) -> None:
        """Stop (or let go on) the postmaster and all of its processes where they are."""
        for pid in [self.pid, *self.children()]:
            try:
                os.kill(pid, signal.SIGCONT if thaw else signal.SIGSTOP)
            except ProcessLookupError:
                continue

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def psql(self, sql: str, database: str = "postgres", user: str = SUPERUSER, *, ok: bool = True) -> str:
        """Run SQL over the socket; returns what it printed (tuples only). `database` may be any name."""
        name = database.replace("\\", "\\\\").replace("'", "\\'")
        argv = [
            str(self.bin / "psql"),
            "-XqAtv",
            "ON_ERROR_STOP=1",
            "-h",
            self.socket,
            "-p",
            str(self.port),
            "-U",
            user,
        ]
        argv += ["-d", f"dbname='{name}'", "-f", "-"]
        done = subprocess.run(argv, input=sql.encode(), capture_output=True, check=False, timeout=100)
        if ok and done.returncode:
            raise AssertionError(f"psql: {done.stderr.decode()}\n{sql[:300]}")
        return done.stdout.decode().rstrip("\n")

    def dump(self, database: str, *options: str) -> str:
        """What pg_dump prints with a fixed key."""
        name = database.replace("\\", "\\\\").replace("'", "\\'")
        argv = [
            str(self.bin / "pg_dump"),
            "-h",
            self.socket,
            "-p",
            str(self.port),
            "-U",
            SUPERUSER,
            "--restrict-key=same",
        ]
        done = subprocess.run([*argv, *options, "-d", f"dbname='{name}'"], capture_output=True, check=True, timeout=100)
        return done.stdout.decode("utf-8", "surrogateescape")

    def dump_globals(self) -> str:
        """What pg_dumpall --globals-only prints."""
        argv = [str(self.bin / "pg_dumpall"), "-g", "-h", self.socket, "-p", str(self.port), "-U", SUPERUSER]
        done = subprocess.run([*argv, "--restrict-key=same"], capture_output=True, check=True, timeout=100)
        return done.stdout.decode()

    def close(self) -> None:
        if self._process is not None:
            self.freeze(thaw=True)
            self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> PostgresServer:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _init(self) -> None:
        secret = self.root / "pw"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        argv = [
            str(self.bin / "initdb"),
            "-N",
            "-D",
            str(self.data),
            "-U",
            SUPERUSER,
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]
        argv += ["--auth=trust", f"--pwfile={secret}"]
        done = subprocess.run(self._as_owner(argv), capture_output=True, check=False, timeout=60, cwd="/")
        if done.returncode:
            raise AssertionError(f"initdb: {done.stderr.decode()}")
        secret.unlink()
        (self.data / "pg_hba.conf").write_text(_HBA)

    def _as_owner(self, argv: list[str]) -> list[str]:
        if os.geteuid() != 0:
            return argv
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *argv]

    def _wait_ready(self) -> None:
        argv = [str(self.bin / "pg_isready"), "-q", "-h", self.socket, "-p", str(self.port)]
        for _ in range(400):
            if subprocess.run(argv, check=False, timeout=10).returncode == 0:
                return
            if self._process is not None and self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"the server did not start: {self.log.read_text()[-2000:]}")
