"""A throw-away MongoDB server on a loopback port: a real mongod where one is on PATH, else SecantusDB.

SecantusDB speaks MongoDB's protocol over the same storage engine, as a replica set of one member. Its build in Rust
(`secantusd-rs`) is taken before the one in Python, which `scripts/test` installs.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pymongo
import pytest
from pymongo.errors import PyMongoError

from tests.places import free_port

PROJECT = Path(__file__).resolve().parents[3]
PYTHON_BUILD = PROJECT / ".tools" / "mongo" / "bin" / "secantusd-py"
SECANTUS = ("secantusd-rs", str(PYTHON_BUILD))
ROOT, PASSWORD = "root", "su per:se\\cret'\"%@/"  # what a config file and a URI must escape

Client = pymongo.MongoClient[dict[str, Any]]


def program() -> str:
    """Return the server to start; the test is skipped without any."""
    for name in ("mongod", *SECANTUS):
        if path := shutil.which(name):
            return path
    pytest.skip("no mongod, secantusd-rs or secantusd-py: scripts/test installs the last one")


def is_full() -> bool:
    """Whether the server is MongoDB's own."""
    return Path(program()).name == "mongod"


@dataclass(frozen=True)
class Portable:
    """How to start the server in a container that has this machine's /usr. folders: what else to mount."""

    argv: list[str]
    folders: list[str]
    env: dict[str, str]


def portable(path: Path) -> Portable:
    """Return how to start the program at `path`, everything by its real path: a link on the way, of .tools or of an
    interpreter, is not there inside.

    A Python program is not started by its first line, nor in its virtual environment: both name such links.
    """
    real = path.resolve()
    if not real.read_bytes().startswith(b"#!"):
        return Portable([str(real)], _outside(real.parent), {})
    asked = (
        "import sys, sysconfig as s; print(sys.base_prefix, s.get_path('purelib'), s.get_python_version(), sep='\\n')"
    )
    done = subprocess.run([path.parent / "python", "-c", asked], check=True, capture_output=True, text=True, timeout=30)
    base, library, version = done.stdout.splitlines()
    installed = Path(base).resolve()
    env = {"PYTHONPATH": str(Path(library).resolve()), "PYTHONDONTWRITEBYTECODE": "1"}
    python = (installed / "bin" / f"python{version}").resolve()
    return Portable([str(python), str(real)], _outside(installed, python.parent, real.parent, Path(library)), env)


def _outside(*folders: Path) -> list[str]:
    found = {str(each.resolve()) for each in folders}
    return sorted(each for each in found if not f"{each}/".startswith("/usr/"))


def lacking(what: str) -> None:
    """Skip the test of something that only MongoDB's own server has, unless that is here."""
    if not is_full():
        lesser = Path(program()).name
        text = (
            f"{what} is not in {lesser}, and MongoDB's own server is in no distribution that scripts/test can install"
        )
        pytest.skip(f"impossible here: {text} from; a mongod on PATH runs this test")


class MongoServer:
    """start(), stop() keeps the data, close() removes it. Also a context manager.

    auth: users are asked for; the user ROOT may do everything · standalone: no replica set · flags: more arguments.
    """

    def __init__(self, *, auth: bool = False, standalone: bool = False, flags: Sequence[str] = ()) -> None:
        self.program = program()
        self.root = Path(tempfile.mkdtemp(prefix="rsg-mongo-"))
        self.port = free_port()
        self.log = self.root / "log"
        self._auth, self._standalone, self._flags = auth, standalone, tuple(flags)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> MongoServer:
        if self._auth and not (self.root / "data").exists():
            self._run(self._argv(auth=False))
            with self.client() as client:
                client.admin.command("createUser", ROOT, pwd=PASSWORD, roles=["root"])
            self.stop()
        self._run(self._argv(auth=self._auth))
        return self

    def _argv(self, *, auth: bool) -> list[str]:
        (self.root / "data").mkdir(exist_ok=True)
        if is_full():
            argv = [self.program, "--bind_ip=127.0.0.1", f"--port={self.port}", f"--dbpath={self.root}/data"]
            argv += [f"--unixSocketPrefix={self.root}"] + (["--auth"] if auth else [])
            if not self._standalone:
                argv += ["--replSet=rs0"]
                if auth:
                    (self.root / "key").write_text("c2VjcmV0c2VjcmV0")
                    (self.root / "key").chmod(0o600)
                    argv.append(f"--keyFile={self.root}/key")
            return [*argv, *self._flags]
        argv = [self.program, "--host", "127.0.0.1", "--port", str(self.port), "--log-level", "WARNING"]
        argv += ["--storage-path", str(self.root / "data")]
        return [*argv, *(["--auth"] if auth else []), *(["--standalone"] if self._standalone else []), *self._flags]

    def _run(self, argv: Sequence[str]) -> None:
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self.root)
        until = time.monotonic() + 30
        while time.monotonic() < until and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.05)
        raise AssertionError(f"the server did not start: {self.log.read_text()[-2000:]}")

    def _answers(self) -> bool:
        if "--tls-cert-file" in self._flags:
            return self._listens()
        try:
            with pymongo.MongoClient("127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=300) as it:
                if is_full() and not self._standalone:
                    self._initiate(it)
                return bool(it.admin.command("hello")["isWritablePrimary"])
        except PyMongoError:
            return False

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def _initiate(self, client: Client) -> None:
        member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
        try:
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
        except PyMongoError:
            return  # it is already

    @contextmanager
    def client(self, *, login: bool = False, **more: Any) -> Iterator[Client]:
        given = {"username": ROOT, "password": PASSWORD} if login else {}
        with pymongo.MongoClient(
            "127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=5000, **given, **more
        ) as client:
            yield client

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(number)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
        self._process = None

    def kill(self) -> None:
        """As a power cut."""
        self.stop(signal.SIGKILL)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        self.kill()  # nobody needs its data any more, and a polite end takes seconds
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> MongoServer:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
