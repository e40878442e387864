"""A throw-away MariaDB or MySQL server: one directory, a UNIX socket and a loopback port; the system is not touched."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import pymysql

from tests.engines.servers.roots import needed, program
from tests.places import free_port

Kind = Literal["mariadb", "mysql"]
SUPERUSER = "root"
PASSWORD = "su per#\"\\se'cr\te;t=ü"  # what an option file must quote and escape
OWN = {"mysql", "information_schema", "performance_schema", "sys"}


def kinds() -> list[Kind]:
    """Which of the two servers are installed here."""
    found: list[Kind] = ["mariadb"] if program("mariadbd") else []
    mysqld = program("mysqld")
    if mysqld and "mariadb" not in _version(mysqld):
        found.append("mysql")
    return found


def _version(path: Path) -> str:
    return subprocess.run([path, "--version"], capture_output=True, check=False, timeout=30).stdout.decode().lower()


def account() -> str:
    """Who runs the server: its own account, which not every package makes."""
    try:
        return pwd.getpwnam("mysql").pw_name
    except KeyError:
        return "nobody"


def ident(*names: str) -> str:
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)


class MariadbServer:
    """start() makes the data when needed; stop() keeps it; close() removes it. Also a context manager.

    socket, port: where it listens · settings: options such as "log-bin=bin". Over TCP (and the socket) the superuser
    needs no password, but `other` accounts may.
    """

    def __init__(self, kind: Kind = "mariadb", settings: Iterable[str] = ()) -> None:
        self.kind = kind
        if kind == "mariadb":
            self.binary = needed("mariadbd", package="mariadb-server")
        else:
            if "mysql" not in kinds():
                needed("mysqld-of-MySQL", package="mysql-server-core")
            self.binary = needed("mysqld", package="mysql-server-core")
        self.root = Path(tempfile.mkdtemp(prefix="rsg-my-", dir="/tmp"))
        self.root.chmod(0o755)
        self.data = self.root / "data"
        self.socket = str(self.root / "s")
        self.port = free_port()
        self.log = self.root / "log"
        self._settings = tuple(settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: pymysql.Connection[Any] | None = None
        if os.geteuid() == 0:
            shutil.chown(self.root, account())

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> MariadbServer:
        if not self.data.exists():
            self._init()
        options = [
            f"--datadir={self.data}",
            f"--socket={self.socket}",
            f"--pid-file={self.root / 'pid'}",
            f"--port={self.port}",
            f"--tmpdir={self.root}",  # names in it are of the process's ID, and containers share /tmp with us
            "--bind-address=127.0.0.1",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=0",
            "--max-connections=80",
            "--event-scheduler=ON",
        ]
        if self.kind == "mysql":
            options += ["--secure-file-priv=NULL", "--mysqlx=OFF", "--skip-log-bin"]
        options += [f"--{setting}" for setting in self._settings]
        with open(self.log, "ab") as log:
            argv = self._as_owner([str(self.binary), "--no-defaults", *options])
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, cwd="/")
        self._wait_ready()
        return self

    def stop(self, mode: signal.Signals = signal.SIGTERM) -> None:
        self._forget()
        if self._process is None:
            return
        self._process.send_signal(mode)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
        self._process = None

    def kill(self) -> None:
        """Crash it."""
        self.stop(signal.SIGKILL)

    def freeze(self, *, thaw: bool = False) -> None:
        os.kill(self.pid, signal.SIGCONT if thaw else signal.SIGSTOP)

    def connect(self, database: str | None = None, user: str = SUPERUSER, password: str = "") -> Any:
        return pymysql.connect(
            unix_socket=self.socket,
            user=user,
            password=password.encode(),
            database=database,
            charset="utf8mb4",
            autocommit=True,
            read_timeout=60,
        )

    def sql(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements as the superuser; return the last one's rows."""
        if self._connection is None:
            self._connection = self.connect()
        rows: list[tuple[Any, ...]] = []
        with self._connection.cursor() as cursor:
            cursor.execute(f"USE {ident(database or 'mysql')}")
            cursor.execute("SET SESSION sql_mode = ''")
            for statement in statements:
                cursor.execute(statement)
                rows = list(cursor.fetchall())
        return rows

    def databases(self) -> list[str]:
        """Those that are not the server's own."""
        return sorted(name for (name,) in self.sql("SHOW DATABASES") if name not in OWN)

    def drop_all(self) -> None:
        for name in self.databases():
            self.sql(f"DROP DATABASE {ident(name)}")

    def accounts(self) -> list[tuple[Any, ...]]:
        return self.sql("SELECT User, Host FROM mysql.user ORDER BY 1, 2")

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.freeze(thaw=True)
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> MariadbServer:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection._force_close()
            self._connection = None

    def _init(self) -> None:
        if self.kind == "mariadb":
            tool = needed("mariadb-install-db", package="mariadb-server")
            argv = [str(tool), "--no-defaults", f"--datadir={self.data}", "--skip-test-db"]
            argv += ["--auth-root-authentication-method=normal"]
        else:
            argv = [str(self.binary), "--no-defaults", "--initialize-insecure", f"--datadir={self.data}"]
        argv.append(f"--tmpdir={self.root}")  # one that starts removes what others have in theirs
        done = subprocess.run(self._as_owner(argv), capture_output=True, check=False, timeout=100, cwd="/")
        if done.returncode:
            raise AssertionError(f"{argv[0]}: {done.stdout.decode()} {done.stderr.decode()}")

    def _as_owner(self, argv: Sequence[str]) -> list[str]:
        if os.geteuid() != 0:
            return [*argv]
        return ["setpriv", f"--reuid={account()}", f"--regid={pwd.getpwnam(account()).pw_gid}", "--init-groups", *argv]

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as line:
            try:
                line.connect(self.socket)
                return bool(line.recv(1))  # the first byte of its greeting
            except OSError:
                return False

    def _wait_ready(self) -> None:
        for _ in range(600):
            if self._listens():
                self.connect().close()
                return
            time.sleep(0.05)
            if self._process is not None and self._process.poll() is not None:
                break
        raise AssertionError(f"the server did not start: {self.log.read_text()[-2000:]}")
