"""Starting a tool inside a container so that the sentinel knows it before it does anything."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from secrets import token_hex
from typing import Protocol

from orchestrator.adapters.container import gate, inside
from orchestrator.adapters.container.daemon import Container, Daemon, NotThere, Refused, no_such_user, not_ready
from orchestrator.adapters.container.opening import STARTING, NoGreetingError, Opened, Order, kill, our_mark
from orchestrator.adapters.interrupts import Interrupts
from orchestrator.adapters.launch import name_process
from orchestrator.adapters.sentinel import EXEC, MARKER, end_execs, is_marked
from orchestrator.model.errors import (
    DeadlineExceeded,
    Precondition,
    ResguardoError,
    RightsMissing,
    ServerUnreachable,
    ToolMissing,
)
from orchestrator.model.execution import KillExec, KillProcess, Undo
from orchestrator.model.failpoints import reach

_KEPT = ("PATH", "HOME", "LD_LIBRARY_PATH")  # of the container's environment; the rest may redirect a client program
_NO_SUCH_PROGRAM = ("executable file not found", "no such file or directory")
_BORN = 5.0  # seconds after which a process that the Engine has started has become the tool


class Place(Protocol):
    """The container as its executor knows it."""

    @property
    def place(self) -> str:
        """For messages."""

    def container(self) -> Container:
        """Look at it."""


class Ready:
    """A tool that is let go, or about to: all that the running of it needs.

    action: the process as the sentinel knows it · source: readable end of its output where that does not come through
    the Engine · forget: to call at its end.
    """

    def __init__(self, opened: Opened, action: KillProcess, source: int | None, forget: Callable[[], None]) -> None:
        self.opened = opened
        self.action = action
        self.source = source
        self.forget = forget


class Starter:
    """Starts tools in one container. shell: whether it has one, as far as is known."""

    def __init__(self, daemon: Daemon, where: Place, interrupts: Interrupts) -> None:
        self._daemon = daemon
        self._where = where
        self._interrupts = interrupts
        self._shell = True

    def start(self, order: Order, undo: Undo) -> Ready:
        """Start it behind the gate; without one in a container that has no shell. Raises as `Executor.start`."""
        if self._shell:
            opened = self._behind_gate(order)
            if opened is not None:
                return self._let_go(order, opened, undo)
            self._shell = False
        return self._bare(order, undo)

    # --- behind the gate ---------------------------------------------------------------------------------------------

    def _behind_gate(self, order: Order) -> Opened | None:
        """Start the gate, and wait until it says that it is there; None: the container has no shell."""
        token = token_hex(12)
        placed = _placed(order)
        argv = gate.command(
            placed.argv,
            token,
            secrets=len(order.secrets),
            direct=order.may_be_direct,
            stdin=order.stdin is not None,
        )
        opened = self._attach(placed, self._create(placed, argv, token), token)
        try:
            word = opened.word(self._interrupts, order.tool)
            self._assert_found(order, word)
            opened.direct = word == "direct"
            opened.pid = self._pid(opened)
        except NoGreetingError as error:
            opened.link.close()
            why = self._why_not(order, opened, error.text, gate.SHELL)
            if isinstance(why, ToolMissing):
                return None
            raise why from error
        except BaseException:
            opened.link.close()
            raise
        return opened

    def _let_go(self, order: Order, opened: Opened, undo: Undo) -> Ready:
        """Make it known to the sentinel, then open the gate."""
        try:
            reach("child.blocked")
            process = name_process(opened.pid, "dump")
            self._assert_alive(order, process)
            action = undo.register(process)
            reach("child.acknowledged")
        except BaseException:
            opened.link.close()  # the gate reads the end of file, and ends
            raise
        try:
            source = self._release(order, opened)
        except BaseException as error:
            kill(process)
            opened.link.close()
            undo.done(action)
            if isinstance(error, (OSError, NoGreetingError)):
                raise self._changed(order) from error
            raise
        return Ready(opened, process, source, lambda: undo.done(action))

    def _assert_alive(self, order: Order, process: KillProcess) -> None:
        if not process.start:
            raise self._changed(order)

    def _release(self, order: Order, opened: Opened) -> int | None:
        """Open the gate. Returns the readable end of the output where that does not come through the Engine."""
        source = opened.output() if opened.direct else None
        try:
            opened.link.sendall(gate.lines(order.secrets))
            if opened.direct:
                opened.word(self._interrupts, order.tool)
            if order.stdin is None:
                opened.link.shutdown(socket.SHUT_WR)
        except BaseException:
            if source is not None:
                os.close(source)
            raise
        return source

    def _assert_found(self, order: Order, word: str) -> None:
        if word == "missing":
            raise self._missing(order.tool)

    # --- without a gate ----------------------------------------------------------------------------------------------

    def _bare(self, order: Order, undo: Undo) -> Ready:
        """Start the tool itself. It is known by its token before it is started, and by its PID before it is read."""
        token = token_hex(12)
        try:
            places, remove = inside.place_secrets(order.container, order.secrets, order.user, undo, self._where.place)
        except inside.HiddenError as error:
            raise self.out_of_reach() from error
        named = undo.register(KillExec(token))
        exec_id = ""
        opened: Opened | None = None
        try:
            order = _placed(order, places)
            exec_id = self._create(order, order.argv, token)
            opened = self._attach(order, exec_id, token)
            process = self._born(order, opened)
            reach("child.blocked")
            action = undo.register(process) if process.start else ""
            reach("child.acknowledged")
            with suppress(OSError):  # it has ended: its exit code tells
                if order.stdin is None:
                    opened.link.shutdown(socket.SHUT_WR)
        except BaseException:
            if opened is not None:
                opened.link.close()
            if self._is_over(exec_id, token):
                undo.done(named)
            remove()
            raise
        undo.done(named)

        def forget() -> None:
            if action:
                undo.done(action)
            remove()

        return Ready(opened, process, None, forget)

    def _is_over(self, exec_id: str, token: str) -> bool:
        """Kill what was started; return whether it is certain that nothing of it runs or may still begin to.

        The Engine may start what it was asked to long after we have given up the wait for its answer.
        """
        if not exec_id or self._has_ended(exec_id):
            return True
        end_execs([asdict(KillExec(token))])
        return self._has_ended(exec_id)

    def _has_ended(self, exec_id: str) -> bool:
        try:
            running, code, _ = self._daemon.state(exec_id)
        except NotThere:
            return True
        except ResguardoError:
            return False
        return not running and code is not None

    def _born(self, order: Order, opened: Opened) -> KillProcess:
        """Wait until the Engine's process has become the tool; one that has ended since has no start time."""
        until = time.monotonic() + _BORN
        while True:
            running, code, pid = self._daemon.state(opened.exec_id)
            if not running and code in (126, 127) and not pid:
                raise self._why_not(order, opened, opened.all_text(), order.tool)
            if running and pid and is_marked(pid, opened.token, EXEC):
                return name_process(pid, "dump")
            if not running and code is not None:
                return replace(name_process(os.getpid(), "dump"), pid=pid, start=0)
            if time.monotonic() > until:
                raise self.out_of_reach() if pid else self._late(order)
            self._interrupts.wait((), 0.005)

    def _late(self, order: Order) -> DeadlineExceeded:
        hint = "the Engine or the container hangs: see dockerd's log"
        return DeadlineExceeded(f"{order.tool} was not started within {_BORN:g} s", hint)

    # --- both --------------------------------------------------------------------------------------------------------

    def _create(self, order: Order, argv: Sequence[str], token: str) -> str:
        with self._explained(order):
            return self._daemon.create(order.container.id, argv, _environment(order, token), order.user)

    def _attach(self, order: Order, exec_id: str, token: str) -> Opened:
        with self._explained(order):
            return Opened(exec_id, token, self._daemon.attach(exec_id))

    @contextmanager
    def _explained(self, order: Order) -> Iterator[None]:
        try:
            yield
        except (Refused, NotThere) as error:
            raise self._changed(order) from error
        except RightsMissing as error:
            if order.user and no_such_user(error.message):
                raise self._no_user(order) from error
            raise

    def _pid(self, opened: Opened) -> int:
        """Return its PID in our own namespace. Raises Precondition when its processes are not within our reach."""
        until = time.monotonic() + STARTING
        running, _, pid = self._daemon.state(opened.exec_id)
        while not pid and time.monotonic() < until:  # the Engine learns of a process a moment after it has begun
            self._interrupts.wait((), 0.002)
            running, _, pid = self._daemon.state(opened.exec_id)
        if not is_marked(pid, opened.token, EXEC):
            if not running:
                raise NoGreetingError("")
            raise self.out_of_reach()
        return pid

    def out_of_reach(self) -> ResguardoError:
        """Say that we cannot see into the container, or that it ran a moment ago. Raises as `Place.container`."""
        found = self._where.container()
        if not found.running:
            return not_ready(found)
        return Precondition(
            f"the processes of {self._where.place} cannot be seen from here, so nothing could end what we start there",
            "run as root on the host of the Docker Engine; inside a container with --pid=host",
        )

    def _why_not(self, order: Order, opened: Opened, text: str, program: str) -> ResguardoError:
        """Explain that what was to be started did not start."""
        if no_such_user(text):
            return self._no_user(order)
        _, code, _ = self._daemon.state(opened.exec_id)
        if code in (126, 127) and any(words in text for words in _NO_SUCH_PROGRAM):
            return self._missing(program)
        if not self._where.container().running or code in (137, None):
            return self._changed(order)
        text = f"{order.tool} cannot be started in {self._where.place} (exit code {code}): {text}"
        return ServerUnreachable(text, "see dockerd's log")

    def _missing(self, program: str) -> ToolMissing:
        hint = "correct its name, or take an image that has it"
        return ToolMissing(f"{program}: no such program in {self._where.place}", hint)

    def _no_user(self, order: Order) -> RightsMissing:
        return RightsMissing(f"user {order.user}: no such user in {self._where.place}", "correct its name")

    def _changed(self, order: Order) -> ResguardoError:
        """Say what happened to a container that ran a moment ago."""
        try:
            found = self._where.container()
        except NotThere:
            return ServerUnreachable(f"{self._where.place} was removed", "it must stay during backups; run again")
        except ResguardoError as error:
            return error
        if not found.running:
            return not_ready(found)
        text = f"{order.tool} ended in {self._where.place} before it began"
        return ServerUnreachable(text, f"see docker logs {found.name}; run again")


def _placed(order: Order, places: dict[str, str] | None = None) -> Order:
    """Return the order with the paths of its secrets in arguments and environment."""
    known = gate.paths(order.secrets) if places is None else places

    def filled(text: str) -> str:
        for name, path in known.items():
            text = text.replace(f"{{secret:{name}}}", path)
        return text

    argv = [order.argv[0], *map(filled, order.argv[1:])]
    return replace(order, argv=argv, env={key: filled(value) for key, value in order.env.items()})


def _environment(order: Order, token: str) -> list[str]:
    """Return what the tool's environment adds to the container's; a name without a value is taken away."""
    clean = {
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        MARKER: our_mark(),
        EXEC: token,
        **order.env,
    }
    away = [name for name in order.container.env if name not in clean and name not in _KEPT]
    return [*away, *(f"{name}={value}" for name, value in clean.items())]
