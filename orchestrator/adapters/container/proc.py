"""A tool that runs inside a container: its streams, its end, stopping it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field

from orchestrator.adapters import sentinel
from orchestrator.adapters.container.daemon import Container, Daemon, NotThere
from orchestrator.adapters.container.frames import STDOUT, Frames
from orchestrator.adapters.container.opening import our_mark
from orchestrator.adapters.container.output import BUFFER, Output
from orchestrator.adapters.container.watch import PAUSED, Watch
from orchestrator.adapters.interrupts import Interrupts, poll
from orchestrator.adapters.process import Stderr
from orchestrator.model.errors import Interrupted, ResguardoError, ServerUnreachable
from orchestrator.model.execution import Exit, KillProcess
from orchestrator.model.failpoints import reach

_LOOK = 1.0  # seconds between two looks at what does not tell by itself
LOOK = 5.0  # seconds between two questions whether the container still runs
_SETTLE = 10.0  # seconds after the streams' end within which the Engine knows the exit code
_SAME = 3.0  # seconds between the end of a tool's output and the tool's own end
_KILLED = 137
_KILLED_TOO = 1.0  # seconds in which a container is seen to have ended, of which one process was killed
_MIRRORED = 128  # exit codes above are signals, as the Engine reports them


@dataclass(frozen=True)
class Started:
    """What was started: the tool's name for messages, its exec, the connection, the process and how it is known.

    source: readable end of the tool's output when that does not come through the connection, else None · frames: where
    in the stream the connection is.
    """

    tool: str
    container: Container
    exec_id: str
    link: socket.socket
    action: KillProcess
    source: int | None = None
    frames: Frames = field(default_factory=Frames)


class ContainerProc:
    """A tool inside a container, fulfilling the port `Proc`; all methods may be called from several threads.

    A thread carries its streams. The reader of stdout sees the end only when the exit code is known. When the
    container is paused, stopped, removed or restarted meanwhile, or the Engine is gone, `wait` raises
    ServerUnreachable; the tool's own failure is in Exit. on_end is called once.
    """

    def __init__(
        self,
        daemon: Daemon,
        started: Started,
        *,
        stdin: int | None,
        stdout: int | None,
        deadline: float | None,
        interrupts: Interrupts,
        on_end: Callable[[], None],
        look: float = LOOK,
        paused: float = PAUSED,
    ) -> None:
        self.pid = started.action.pid
        self._daemon = daemon
        self._started = started
        self._interrupts = interrupts
        self._until = None if deadline is None else time.monotonic() + deadline
        self._on_end = on_end
        self._look = look
        self._watch = Watch(daemon, started.container, started.tool, paused)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._over = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        for fd in (self._wake, self._over):
            weakref.finalize(self, os.close, fd)
        self._stderr = Stderr()
        self._said: str | None = None
        self._exit: Exit | None = None
        self._trouble: Exception | None = None
        self._stopped = False
        self._lock = threading.Lock()
        self._output = Output(stdout, self._wake)
        self._threads = [threading.Thread(target=self._run, name=f"exec-{started.tool}", daemon=True)]
        if stdin is not None:
            given = os.dup(stdin)
            self._threads.append(threading.Thread(target=self._feed, args=(given,), name="exec-stdin", daemon=True))
        if started.source is not None:
            self._threads.append(threading.Thread(target=self._move, name="exec-stdout", daemon=True))

    def begin(self, early: Sequence[tuple[int, bytes]] = ()) -> None:
        """Let the streams flow; `early` is what came with the greeting."""
        self._hand_on([(kind, memoryview(piece)) for kind, piece in early])
        for thread in reversed(self._threads):  # the first one waits for the others
            thread.start()

    # --- the port ----------------------------------------------------------------------------------------------------

    def wait(self) -> Exit:
        """See the port. Raises ServerUnreachable when the container did not stay as it was."""
        while not poll((self._over,), 0):
            left = _LOOK if self._until is None else self._until - time.monotonic()
            if left <= 0:
                return self._time_out()
            try:
                self._interrupts.wait((self._over,), min(left, _LOOK))
            except Interrupted:
                self.stop()
                raise
        if self._trouble is not None:
            raise self._trouble
        return self._ended()

    def poll(self) -> Exit | None:
        """See the port."""
        return self._ended() if poll((self._over,), 0) else None

    def stop(self, grace: float = 1.0) -> Exit:
        """See the port; a process of a paused container ends for good when that goes on."""
        if not poll((self._over,), 0):
            self._stopped = True
            self._kill(grace)
            self._give_up()
            poll((self._over,), None)
        return self._ended()

    def _ended(self) -> Exit:
        with self._lock:
            if self._said is None:
                self._said = self._stderr.close()
            if self._exit is None:
                reason = str(self._trouble).partition("\n")[0] if self._trouble else "it was stopped"
                self._exit = Exit(_KILLED, int(signal.SIGKILL), f"{self._said.rstrip()}\n{reason}".lstrip())
            return self._exit

    def _time_out(self) -> Exit:
        if poll((self._over,), 0):
            return self.wait()
        end = self.stop()
        with self._lock:
            self._trouble = None
            self._exit = Exit(end.code, end.signal, end.stderr_tail, timed_out=True)
            return self._exit

    def _kill(self, grace: float) -> bool:
        """Interrupt, then kill the tool and what it started in its session; return whether that is certain."""
        return not sentinel.end([asdict(self._started.action)], signal.SIGINT, our_mark(), grace)

    def _give_up(self) -> None:
        """End the carrying threads, whatever they wait for."""
        os.eventfd_write(self._wake, 1)
        with suppress(OSError):
            self._started.link.shutdown(socket.SHUT_RDWR)

    # --- carrying ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Carry the streams to their end, find out how the tool ended, and only then let the reader see the end."""
        over = False
        try:
            self._carry()
            self._assert_complete()
            self._exit = self._settle()
            over = True
        except Exception as error:  # noqa: BLE001 - raised where the tool is waited for
            self._trouble = self._trouble or self._explained(error)
            over = self._kill(0.0)
        finally:
            self._finish(over=over)

    def _explained(self, error: Exception) -> Exception:
        if not isinstance(error, OSError):
            return error
        where = f"{self._started.tool} in container {self._started.container.name}"
        text = f"what goes in and out of {where} cannot be passed on: {error.strerror or error}"
        return ResguardoError(text, "see whether a disk is full; run again")

    def _finish(self, *, over: bool) -> None:
        """over: nothing of the tool runs any more; else the sentinel must go on knowing it."""
        os.eventfd_write(self._wake, 1)
        with suppress(OSError):  # input that nobody takes any more would be waited for
            self._started.link.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        self._started.link.close()
        self._output.close()
        reach("child.reaped")
        if over:
            self._on_end()
        os.eventfd_write(self._over, 1)

    def _carry(self) -> None:
        """Copy the connection's frames until it ends. Raises ServerUnreachable."""
        link = self._started.link
        buffer = memoryview(bytearray(BUFFER))
        checked = time.monotonic()
        while not poll((self._wake,), 0):
            if link.fileno() in poll((link.fileno(), self._wake), min(_LOOK, self._look)):
                count = self._receive(link, buffer)
                if not count:
                    break
                self._deliver(buffer[:count])
            if time.monotonic() - checked >= self._look:
                self._watch.check()
                checked = time.monotonic()
        if self._trouble is None and not self._stopped and not self._started.frames.whole:
            raise self._cut("in the middle of a frame")
        for thread in self._threads[1:]:
            if thread.name == "exec-stdout":
                self._await(thread)
        if self._trouble is not None:
            raise self._trouble

    def _receive(self, link: socket.socket, buffer: memoryview) -> int:
        try:
            return link.recv_into(buffer)
        except OSError as error:
            # A UNIX socket gives all that was sent, and then says that the tool has left some of its input unread.
            if self._stopped or (isinstance(error, ConnectionResetError) and link.family == socket.AF_UNIX):
                return 0
            raise self._cut(error.strerror or str(error)) from error

    def _cut(self, why: str) -> ServerUnreachable:
        """Return what to raise when the connection to the Engine was lost. Raises what happened to the container."""
        self._watch.check()
        where = f"container {self._started.container.name}"
        text = f"the connection to {self._started.tool} in {where} was cut: {why}"
        return ServerUnreachable(text, "see dockerd's log; run again")

    def _deliver(self, data: memoryview) -> None:
        try:
            self._hand_on(self._started.frames.take(data))
        except ValueError as error:
            raise ServerUnreachable(
                f"container {self._started.container.name}: {error}", "see dockerd's log"
            ) from error

    def _hand_on(self, frames: Sequence[tuple[int, memoryview]]) -> None:
        pieces = []
        for kind, piece in frames:
            if kind == STDOUT:
                pieces.append(piece)
            else:
                os.write(self._stderr.fd, piece)
        self._stderr.trim()
        with self._told_of_no_reader():
            self._output.write(pieces)

    @contextmanager
    def _told_of_no_reader(self) -> Iterator[None]:
        """Let the tool know that nobody reads its output any more, as a pipe would."""
        try:
            yield
        except BrokenPipeError:
            fd = sentinel.open_process(self.pid, self._started.action.start)
            if fd is not None:
                with suppress(ProcessLookupError, PermissionError):
                    signal.pidfd_send_signal(fd, signal.SIGPIPE)
                os.close(fd)

    def _move(self) -> None:
        """Move the tool's output, which does not pass the Engine, to its end."""
        source = self._started.source
        assert source is not None  # noqa: S101 - the thread was made for it
        try:
            with self._told_of_no_reader():
                while self._output.splice(source):
                    pass
        except OSError as error:
            self._trouble = self._trouble or self._explained(error)
            os.eventfd_write(self._wake, 1)
        finally:
            os.close(source)

    def _await(self, thread: threading.Thread) -> None:
        """Wait until all output was moved; what the tool left behind may hold it open, and is ended.

        Raises ServerUnreachable.
        """
        quiet = 0
        while thread.is_alive() and not poll((self._wake,), 0):
            thread.join(_LOOK)
            over = self._code() is not None
            quiet = quiet + 1 if over and not self._is_filled() else 0
            if quiet > 3:
                self._kill(0.0)
                os.eventfd_write(self._wake, 1)
            if not over:
                self._watch.check()

    def _is_filled(self) -> bool:
        """Whether there is output that nobody has taken yet."""
        source = self._started.source
        return source is not None and bool(poll((source,), 0))

    def _feed(self, given: int) -> None:
        """Give the tool its input and then its end; a tool that reads no more breaks the pipe of who writes it."""
        link = self._started.link
        try:
            while not poll((self._wake,), 0):
                if given not in poll((given, self._wake), None):
                    return
                chunk = os.read(given, BUFFER)
                if not chunk:
                    break
                link.sendall(chunk)
            if not self._stopped:
                link.shutdown(socket.SHUT_WR)
        except OSError:  # the tool or the container is gone: its end tells
            return
        finally:
            os.close(given)

    def _assert_complete(self) -> None:
        """See that a stream with the tool's output ended because the tool did, and not a connection to the Engine.

        What a tool prints after that is lost, and it may end well all the same. Raises ServerUnreachable.
        """
        if self._started.source is not None:
            return  # this stream had none of its output
        until = time.monotonic() + _SAME
        while not self._stopped and time.monotonic() < until:
            if self._code() is not None:
                return
            time.sleep(0.01)
        if self._stopped:
            return
        self._watch.check()
        text = f"the output of {self._started.tool} in container {self._started.container.name} ended before it did"
        raise ServerUnreachable(text, "see dockerd's log; run again")

    # --- how it ended ------------------------------------------------------------------------------------------------

    def _settle(self) -> Exit:
        """Ask for the exit code: the end of a stream alone says nothing. Raises ServerUnreachable."""
        until = time.monotonic() + _SETTLE
        pause = 0.005
        while (code := self._code()) is None:
            if self._stopped and (time.monotonic() > until or self._is_doomed()):
                return Exit(_KILLED, int(signal.SIGKILL), self._tail())
            time.sleep(pause)
            pause = min(2 * pause, _LOOK)
            if pause == _LOOK:
                self._watch.check()
        if code != 0 and not self._stopped:
            self._look_again(code)
        return Exit(code, code - _MIRRORED if _MIRRORED < code < _MIRRORED + 65 else None, self._tail())

    def _is_doomed(self) -> bool:
        """Whether it was killed and is still there: its container is paused, so the Engine tells of no end."""
        return sentinel.start_of(self.pid) == self._started.action.start

    def _look_again(self, code: int) -> None:
        """See whether the container's end was the tool's; of a kill the Engine learns container by container."""
        until = time.monotonic() + (_KILLED_TOO if code == _KILLED else 0.0)
        self._watch.assert_same()
        while time.monotonic() < until and not self._stopped:
            time.sleep(0.05)
            self._watch.assert_same()

    def _code(self) -> int | None:
        try:
            running, code, _ = self._daemon.state(self._started.exec_id)
        except NotThere:
            self._watch.assert_same()
            raise
        return None if running else code

    def _tail(self) -> str:
        with self._lock:
            if self._said is None:
                self._said = self._stderr.close()
            return self._said
