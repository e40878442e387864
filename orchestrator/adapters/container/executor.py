"""Running engines' tools inside a container."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import stat
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from secrets import token_hex

from orchestrator.adapters.container import gate, inside
from orchestrator.adapters.container.daemon import Container, Daemon, NotThere, Refused, no_such_user, not_ready
from orchestrator.adapters.container.frames import Frames
from orchestrator.adapters.container.proc import LOOK, PAUSED, PIPE, ContainerProc, Started
from orchestrator.adapters.executor import MOST_OUTPUT
from orchestrator.adapters.interrupts import PROCESS, Interrupts
from orchestrator.adapters.journal import Owner
from orchestrator.adapters.launch import memory_file, name_process
from orchestrator.adapters.sentinel import MARKER, end, is_marked, marker
from orchestrator.model.errors import (
    Bug,
    DeadlineExceeded,
    Precondition,
    ResguardoError,
    RightsMissing,
    ServerUnreachable,
    ToolMissing,
)
from orchestrator.model.execution import Address, Completed, Undo
from orchestrator.model.failpoints import reach

TOKEN = "RESGUARDO_EXEC"  # noqa: S105 - the name of a variable that tells our execs apart
_STARTING = 60.0  # seconds that the Engine may take to start something
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # where the image names none; the Engine's own
_KEPT = ("PATH", "HOME", "LD_LIBRARY_PATH")  # of the container's environment; the rest may redirect a client program
_NO_SUCH_PROGRAM = ("executable file not found", "no such file or directory")


class ContainerExecutor:
    """Runs programs inside one container, fulfilling the port `Executor`.

    The container's name is resolved when it is first needed, and its ID is kept: another one that gets the name later
    is never taken for it. look: seconds between two looks at a container in which a tool runs · paused: seconds that it
    may be paused meanwhile.
    """

    def __init__(
        self, daemon: Daemon, name: str, interrupts: Interrupts = PROCESS, *, look: float = LOOK, paused: float = PAUSED
    ) -> None:
        self._daemon = daemon
        self._name = name
        self._interrupts = interrupts
        self._look = look
        self._paused = paused
        self._lock = threading.Lock()
        self._id = ""

    @property
    def place(self) -> str:
        """See the port."""
        return f"container {self._name}"

    def image(self) -> str:
        """See the port. An image that no registry knows has its own ID in place of the digest."""
        found = self.container()
        name = found.image.partition("@")[0]
        return f"{name}@{self._daemon.digest(found.image_id)}"

    def container(self) -> Container:
        """Look at the container. Raises ServerUnreachable, RightsMissing."""
        with self._lock:
            found = self._daemon.inspect(self._id or self._name)
            self._id = found.id
        return found

    def _ready(self) -> Container:
        found = self.container()
        if not found.running:
            raise not_ready(found)
        return found

    # --- starting ----------------------------------------------------------------------------------------------------

    def start(
        self,
        argv: Sequence[str],
        *,
        undo: Undo,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        user: str | None = None,
        deadline: float | None = None,
    ) -> ContainerProc:
        """See the port. Raises ToolMissing, RightsMissing (no such user), ServerUnreachable (it does not run)."""
        given = dict(secrets or {})
        if len(given) > gate.SECRETS:
            raise Bug(f"{argv[0]}: more than {gate.SECRETS} secrets")
        places = gate.paths(given)
        words = [argv[0], *(_fill(word, places) for word in argv[1:])]
        values = {key: _fill(value, places) for key, value in (env or {}).items()}
        order = _Order(self._ready(), words, values, user, given, stdin, stdout)
        opened = self._behind_gate(order)
        try:
            return self._run(order, opened, undo, deadline)
        except BaseException:
            opened.link.close()
            raise

    def _run(self, order: _Order, opened: _Opened, undo: Undo, deadline: float | None) -> ContainerProc:
        reach("child.blocked")
        process = name_process(opened.pid, "dump")
        if not process.start:
            raise self._changed(order)
        action = undo.register(process)
        reach("child.acknowledged")
        try:
            source = self._release(order, opened)
        except BaseException as error:
            end([asdict(process)], signal.SIGKILL, marker(asdict(Owner.me())), 0.0)
            undo.done(action)
            if isinstance(error, (OSError, _NoGreeting)):
                raise self._changed(order) from error
            raise
        started = Started(order.tool, order.container, opened.exec_id, opened.link, process, source, opened.frames)
        proc = ContainerProc(
            self._daemon,
            started,
            stdin=order.stdin,
            stdout=order.stdout,
            deadline=deadline,
            interrupts=self._interrupts,
            on_end=lambda: undo.done(action),
            owner=asdict(Owner.me()),
            look=self._look,
            paused=self._paused,
        )
        proc.begin(opened.rest)
        reach("child.released")
        return proc

    def _release(self, order: _Order, opened: _Opened) -> int | None:
        """Open the gate. Returns the readable end of the output where that does not come through the Engine."""
        source = _output_of(opened.pid) if opened.direct else None
        try:
            opened.link.sendall(gate.lines(order.secrets))
            if opened.direct:
                opened.line(self._interrupts, order.tool)
            if order.stdin is None:
                opened.link.shutdown(socket.SHUT_WR)
        except BaseException:
            _close(source)
            raise
        return source

    def _behind_gate(self, order: _Order) -> _Opened:
        """Start the gate, and wait until it says that it is there."""
        token = token_hex(12)
        argv = gate.command(
            order.argv, token, secrets=len(order.secrets), direct=_is_pipe(order.stdout), stdin=order.stdin is not None
        )
        opened = self._open(order, argv, token)
        try:
            word = opened.line(self._interrupts, order.tool)
            self._assert_found(order, word)
            opened.direct = word == "direct"
            opened.pid = self._pid(opened)
        except _NoGreeting as error:
            opened.link.close()
            raise self._why_not(order, opened, error.text) from error
        except BaseException:
            opened.link.close()
            raise
        return opened

    def _open(self, order: _Order, argv: Sequence[str], token: str) -> _Opened:
        try:
            exec_id = self._daemon.create(order.container.id, argv, self._environment(order, token), order.user)
            return _Opened(exec_id, token, self._daemon.attach(exec_id))
        except (Refused, NotThere) as error:
            raise self._changed(order) from error
        except RightsMissing as error:
            if order.user and no_such_user(error.message):
                raise self._no_user(order) from error
            raise

    def _assert_found(self, order: _Order, word: str) -> None:
        if word == "missing":
            hint = "correct its name, or take an image that has it"
            raise ToolMissing(f"{order.tool}: no such program in {self.place}", hint)

    def _pid(self, opened: _Opened) -> int:
        """Return its PID in our own namespace. Raises Precondition when its processes are not within our reach."""
        until = time.monotonic() + _STARTING
        running, _, pid = self._daemon.state(opened.exec_id)
        while not pid and time.monotonic() < until:  # the Engine learns of a process a moment after it has begun
            self._interrupts.wait((), 0.002)
            running, _, pid = self._daemon.state(opened.exec_id)
        if not is_marked(pid, opened.token, TOKEN):
            if not running:
                raise _NoGreeting("")
            raise self._out_of_reach()
        return pid

    def _why_not(self, order: _Order, opened: _Opened, text: str) -> ResguardoError:
        """Explain that what was to be started did not start."""
        if no_such_user(text):
            return self._no_user(order)
        _, code, _ = self._daemon.state(opened.exec_id)
        if code in (126, 127) and any(words in text for words in _NO_SUCH_PROGRAM):
            return ToolMissing(f"{gate.SHELL}: no such program in {self.place}", "take an image that has a shell")
        if not self.container().running or code in (137, None):
            return self._changed(order)
        return ServerUnreachable(
            f"{order.tool} cannot be started in {self.place} (exit code {code}): {text}", "see dockerd's log"
        )

    def _no_user(self, order: _Order) -> RightsMissing:
        return RightsMissing(f"user {order.user}: no such user in {self.place}", "correct its name")

    def _changed(self, order: _Order) -> ResguardoError:
        """Say what happened to a container that ran a moment ago."""
        try:
            found = self.container()
        except NotThere:
            return ServerUnreachable(f"{self.place} was removed", "it must stay during backups; run again")
        except ResguardoError as error:
            return error
        if not found.running:
            return not_ready(found)
        text = f"{order.tool} ended in {self.place} before it began"
        return ServerUnreachable(text, f"see docker logs {found.name}; run again")

    def _environment(self, order: _Order, token: str) -> list[str]:
        """Return what the tool's environment adds to the container's; a name without a value is taken away."""
        mine = Owner.me()
        clean = {
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            MARKER: marker(asdict(mine)),
            TOKEN: token,
            **order.env,
        }
        away = [name for name in order.container.env if name not in clean and name not in _KEPT]
        return [*away, *(f"{name}={value}" for name, value in clean.items())]

    def run(
        self,
        argv: Sequence[str],
        *,
        undo: Undo,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        stdin: bytes | None = None,
        user: str | None = None,
        deadline: float = 60.0,
    ) -> Completed:
        """See the port. Raises as `start`, Interrupted, ResguardoError (over 16 MiB of output)."""
        given = None if stdin is None else memory_file(stdin)
        output = memory_file()
        try:
            proc = self.start(
                argv, undo=undo, env=env, secrets=secrets, stdin=given, stdout=output, user=user, deadline=deadline
            )
            end = proc.wait()
            if os.fstat(output).st_size > MOST_OUTPUT:
                raise ResguardoError(f"{argv[0]}: printed more than {MOST_OUTPUT} bytes", hint="ask it for less")
            return Completed(end, os.pread(output, MOST_OUTPUT, 0))
        finally:
            os.close(output)
            if given is not None:
                os.close(given)

    # --- looking -----------------------------------------------------------------------------------------------------

    def which(self, tool: str) -> str | None:
        """See the port. Raises ServerUnreachable."""
        container = self._ready()
        if "/" in tool:
            places = [tool]
        else:
            folders = container.env.get("PATH", _PATH).split(":")
            places = [os.path.join(folder or "/", tool) for folder in folders]
        with self._seen():
            return next((place for place in places if inside.is_program(container.pid, place)), None)

    def exists(self, path: str) -> bool:
        """See the port. Raises ServerUnreachable."""
        with self._seen():
            return inside.status(self._ready().pid, path) is not None

    @contextmanager
    def _seen(self) -> Iterator[None]:
        try:
            yield
        except inside.Hidden as error:
            raise self._out_of_reach() from error

    def _out_of_reach(self) -> Precondition:
        return Precondition(
            f"the processes of {self.place} cannot be seen from here, so nothing could end what a backup starts",
            "run as root on the host of the Docker Engine; inside a container with --pid=host",
        )

    def address(self, address: Address) -> Address:
        """See the port: the container's IP, or a socket in its files."""
        container = self._ready()
        if address.socket:
            return self._socket(container, address)
        if container.host_network:
            return address
        if container.shares:
            container = self._daemon.inspect(container.shares)
        if not container.addresses:
            hint = "give the server's socket, as it is named inside the container; or put the container in a network"
            raise ServerUnreachable(f"{self.place} has no address in any network", hint)
        return Address(container.addresses[0], address.port)

    def _socket(self, container: Container, address: Address) -> Address:
        """Return a path that leads into the container, whatever links there are on the way."""
        try:
            found = inside.reach(container.pid, address.socket)
        except inside.Hidden as error:
            raise ServerUnreachable(
                f"the socket {address.socket} of {self.place} cannot be reached from here",
                "run as root on the host of the Docker Engine; or leave socket out, so that the container's IP is used",
            ) from error
        if found is None:
            hint = "correct socket: its path inside the container; or see whether the server runs"
            raise ServerUnreachable(f"{address.socket} is not there in {self.place}", hint)
        fd, path = found
        weakref.finalize(self, os.close, fd)
        return Address(address.host, address.port, path)

    def private_dir(self, undo: Undo, *, size_hint: int = 0) -> str:
        """See the port."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Order:
    """What shall run."""

    container: Container
    argv: Sequence[str]
    env: Mapping[str, str]
    user: str | None
    secrets: Mapping[str, bytes]
    stdin: int | None
    stdout: int | None

    @property
    def tool(self) -> str:
        return os.path.basename(self.argv[0])


class _NoGreeting(Exception):
    """Instead of the gate's line came this text and the end."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass
class _Opened:
    """An exec that was started, and its connection."""

    exec_id: str
    token: str
    link: socket.socket
    pid: int = 0
    direct: bool = False
    frames: Frames = field(default_factory=Frames)
    rest: list[tuple[int, bytes]] = field(default_factory=list)

    def line(self, interrupts: Interrupts, tool: str) -> str:
        """Return the gate's next word. Raises _NoGreeting, DeadlineExceeded, Interrupted."""
        said = b""
        until = time.monotonic() + _STARTING
        while True:
            if not interrupts.wait((self.link.fileno(),), until - time.monotonic()):
                hint = "the Engine or the container hangs: see dockerd's log"
                raise DeadlineExceeded(f"{tool} was not started within {_STARTING:g} s", hint)
            data = self._receive()
            if not data:
                raise _NoGreeting(" ".join(said.decode("utf-8", "replace").split()))
            for kind, piece in self.frames.take(memoryview(data)):
                if said.endswith(b"\n") and said.startswith(self.token.encode()):
                    self.rest.append((kind, bytes(piece)))  # what the tool says at once belongs to the tool
                else:
                    said += bytes(piece)
            if said.endswith(b"\n") and said.startswith(self.token.encode()):
                return said.decode().split()[1]

    def _receive(self) -> bytes:
        try:
            return self.link.recv(1 << 16)
        except ConnectionError:
            return b""


def _fill(text: str, paths: Mapping[str, str]) -> str:
    for name, path in paths.items():
        text = text.replace(f"{{secret:{name}}}", path)
    return text


def _is_pipe(fd: int | None) -> bool:
    return fd is not None and stat.S_ISFIFO(os.fstat(fd).st_mode)


def _output_of(pid: int) -> int:
    """Return the readable end of the pipe that the tool will write to: see gate.py. Raises OSError."""
    fd = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("not a pipe")
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE)
    return fd


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)
