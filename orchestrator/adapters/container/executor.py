"""The port `Executor` for one container."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from orchestrator.adapters.captured import captured
from orchestrator.adapters.container import gate, inside
from orchestrator.adapters.container.daemon import Container, Daemon, not_ready
from orchestrator.adapters.container.opening import Order
from orchestrator.adapters.container.proc import LOOK, ContainerProc, Started
from orchestrator.adapters.container.starting import Starter
from orchestrator.adapters.container.watch import PAUSED
from orchestrator.adapters.container.ways import Ways
from orchestrator.adapters.interrupts import PROCESS, Interrupts
from orchestrator.model.errors import Bug, NotRunning, ServerUnreachable
from orchestrator.model.execution import Address, Completed, Undo
from orchestrator.model.failpoints import reach

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # where the image names none; the Engine's own


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
        self._ways = Ways()
        self._starter = Starter(daemon, self, interrupts)

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
        order = Order(self._ready(), argv, env or {}, user, given, stdin, stdout)
        ready = self._starter.start(order, undo)
        opened = ready.opened
        proc = ContainerProc(
            self._daemon,
            Started(
                order.tool, order.container, opened.exec_id, opened.link, ready.action, ready.source, opened.frames
            ),
            stdin=stdin,
            stdout=stdout,
            deadline=deadline,
            interrupts=self._interrupts,
            on_end=ready.forget,
            look=self._look,
            paused=self._paused,
        )
        proc.begin(opened.rest)
        reach("child.released")
        return proc

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
        return captured(
            lambda given, output: self.start(
                argv, undo=undo, env=env, secrets=secrets, stdin=given, stdout=output, user=user, deadline=deadline
            ),
            argv[0],
            stdin,
        )

    def private_dir(self, undo: Undo, *, size_hint: int = 0) -> str:
        """See the port; it belongs to the container's own user. Raises Precondition, ServerUnreachable."""
        with self._seen():
            return inside.private_dir(self._ready(), size_hint, undo, self.place)

    def which(self, tool: str) -> str | None:
        """See the port. Raises ServerUnreachable, Precondition."""
        container = self._ready()
        if "/" in tool:
            places = [tool]
        else:
            folders = container.env.get("PATH", _PATH).split(":")
            places = [os.path.join(folder or "/", tool) for folder in folders]
        with self._seen():
            return next((place for place in places if inside.is_program(container.pid, place)), None)

    def exists(self, path: str) -> bool:
        """See the port. Raises ServerUnreachable, Precondition."""
        with self._seen():
            return inside.status(self._ready().pid, path) is not None

    @contextmanager
    def _seen(self) -> Iterator[None]:
        try:
            yield
        except inside.HiddenError as error:
            raise self._starter.out_of_reach() from error

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
            path = self._ways.path(container, address.socket)
        except inside.HiddenError as error:
            self._ready()  # one that has ended since tells that
            raise ServerUnreachable(
                f"the socket {address.socket} of {self.place} cannot be reached from here",
                "run as root on the host of the Docker Engine; or leave socket out, so that the container's IP is used",
            ) from error
        if path is None:
            hint = "correct socket: its path inside the container; or see whether the server runs"
            raise NotRunning(f"{address.socket} is not there in {self.place}", hint)
        return Address(address.host, address.port, path)
