"""Ports for everything that must be undone and every program that is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Role = Literal["restic", "dump"]


@dataclass(frozen=True)
class KillProcess:
    """Undo: end this process. It is named by PID, start time (clock ticks since boot) and boot ID, never by a bare PID.

    `role` fixes its turn: restic first, then dumps. `repository` is set for restic, for the lock doctor.
    """

    pid: int
    start: int
    boot: str
    pid_namespace: int
    role: Role
    repository: str = ""
    kind: Literal["process"] = "process"


@dataclass(frozen=True)
class KillExec:
    """Undo: end what was started inside a container before its PID could be known; with the dumps.

    token: in its environment as RESGUARDO_EXEC.
    """

    token: str
    kind: Literal["exec"] = "exec"


@dataclass(frozen=True)
class RemovePath:
    """Undo: remove this file or directory tree of ours; never before all processes of the run are gone."""

    path: str
    kind: Literal["remove"] = "remove"


@dataclass(frozen=True)
class RemoveInside:
    """Undo: remove this file or directory of ours in the files of a running container; in its turn as RemovePath.

    path: resolved, as the container's processes see it; its last name begins with ".resguardo-" · pid, start: of the
    container's first process · volatile: it lies in memory and goes with the container · place: for messages.
    """

    path: str
    pid: int
    start: int
    volatile: bool
    place: str
    kind: Literal["remove_inside"] = "remove_inside"


@dataclass(frozen=True)
class PutBack:
    """Undo: give `kept` its name `path` again, if nothing has that name; it comes before anything is removed.

    `kept` lies beside `path` and its name begins with `path`'s and "_": nothing else is ever renamed.
    """

    path: str
    kept: str
    kind: Literal["put_back"] = "put_back"


@dataclass(frozen=True)
class Tell:
    """Undo: nothing that we may do by ourselves; who looks after a dead run says `message`, and `hint` what to do.

    service: of which service the data is.
    """

    message: str
    hint: str
    service: str = ""
    kind: Literal["tell"] = "tell"


Action = KillProcess | KillExec | RemovePath | RemoveInside | PutBack | Tell


class Undo(Protocol):
    """One run's list of what must be undone if we die."""

    def register(self, action: Action) -> str:
        """Return the action's ID once the sentinel has made it durable; act only after that."""

    def done(self, action_id: str) -> None:
        """Say that this action is no longer needed (the process was reaped, the path removed)."""


@dataclass(frozen=True)
class Exit:
    """How a process ended: exit code, or the signal that killed it (then code is 128 + signal)."""

    code: int
    signal: int | None = None
    stderr_tail: str = ""
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with exit code 0."""
        return self.code == 0 and not self.timed_out


class Proc(Protocol):
    """A running child."""

    pid: int

    def wait(self) -> Exit:
        """Wait for its end, at most until the deadline (then it is stopped: `timed_out`); safe to call again.

        Raises Interrupted when the run is told to stop; the child is stopped first.
        """

    def poll(self) -> Exit | None:
        """Return its Exit if it has ended, without waiting."""

    def stop(self, grace: float = 1.0) -> Exit:
        """Interrupt (SIGINT), terminate, kill with `grace` seconds between; returns once reaped; safe to call again."""


@dataclass(frozen=True)
class Completed:
    """A captured call: its exit and all of stdout."""

    exit: Exit
    stdout: bytes


@dataclass(frozen=True)
class Address:
    """Where a server listens: host and port, or a socket (a path); what does not apply is "" or 0."""

    host: str = ""
    port: int = 0
    socket: str = ""


class Executor(Protocol):
    """Where an engine's tools run: on this host, or inside a container. Engines do not know which."""

    @property
    def place(self) -> str:
        """For messages: "" on this host, else `container NAME`."""

    def image(self) -> str:
        """Return the image that the server runs from, as `name@digest`; "" on this host. Raises ServerUnreachable."""

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
    ) -> Proc:
        """Start argv (no shell) with a clean environment plus `env`.

        `secrets` are written to 0600 files where the tool runs, removed at its end; `{secret:NAME}` in argv and env
        values is replaced by that file's path. `stdin`/`stdout` are file descriptors (None: /dev/null, discarded);
        the caller closes its own copies. `deadline`: seconds until it is stopped; whoever reads its output
        watches for a stall (`Intake.report`, `Stage`). The child runs its first instruction only after `undo`
        acknowledged it. Raises ToolMissing.
        """

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
        """Start argv, wait, and return what it printed (at most 16 MiB). Raises ToolMissing."""

    def private_dir(self, undo: Undo, *, size_hint: int = 0) -> str:
        """Make a 0700 directory for plaintext, registered for removal; on a disk when size_hint (bytes) is large."""

    def which(self, tool: str) -> str | None:
        """Return the tool's path where tools run, or None."""

    def exists(self, path: str) -> bool:
        """Whether there is something at this path where tools run."""

    def address(self, address: Address) -> Address:
        """Return where a driver in this process reaches the server that tools reach at `address`.

        Raises ServerUnreachable when there is no way to it from here.
        """


@dataclass(frozen=True)
class Trailer:
    """How a complete stream must look, as data (the pump imports nothing).

    magic: the stream must begin with it · footer: must occur in the last `tail` bytes · min_bytes: fewer is a failure.
    """

    magic: bytes = b""
    footer: bytes = b""
    tail: int = 4096
    min_bytes: int = 1


@dataclass(frozen=True)
class StreamReport:
    """What a pump saw: bytes, SHA-256 (hex), and the trailer check's problem ("" when it holds).

    waited: seconds that it could write nothing on, because its reader took nothing; the dump stood still meanwhile.
    """

    bytes: int
    sha256: str
    problem: str = ""
    waited: float = field(default=0.0, compare=False)


class Intake(Protocol):
    """Our end of one pump: restic executes `argv`; nothing is stored unless `commit()` was said."""

    @property
    def argv(self) -> Sequence[str]:
        """What restic executes as its command."""

    def feed(
        self,
        fd: int,
        trailer: Trailer,
        *,
        deadline: float | None = None,
        ended: Callable[[], bool] | None = None,
    ) -> None:
        """Hand the readable end `fd` (a pipe, a socket, a file) to the pump, once it has connected.

        The caller closes its own copy. `ended` (`RunningBackup.poll`) says that restic is gone, so that nobody waits
        for a pump that never comes. Raises DeadlineExceeded, DumpFailed (restic ended, aborted), Interrupted.
        """

    def progress(self) -> int:
        """Return the bytes copied so far."""

    def report(self, *, deadline: float | None = None, stall: float | None = None) -> StreamReport:
        """Wait for the stream's end.

        Raises DeadlineExceeded (`deadline` passed, nothing moved for `stall` seconds), DumpFailed (the pump died,
        aborted), Interrupted.
        """

    def commit(self) -> None:
        """Send the verdict that lets the pump exit 0."""

    def abort(self) -> None:
        """Send the other verdict (or close): the pump exits 1 and restic drops the snapshot; safe to call again."""

    def close(self) -> None:
        """Release the socket; without an earlier commit this is an abort."""


class Outgrown(Exception):
    """A dump is larger than its staging allows: it was given up and its file is gone; dump it again as a stream."""


class Stage(Protocol):
    """Copies a dump into a file, with the pump's own code and checks."""

    def __call__(
        self,
        fd: int,
        path: str,
        trailer: Trailer,
        *,
        on_bytes: Callable[[int], None] | None = None,
        cap: int | None = None,
        deadline: float | None = None,
        stall: float | None = None,
    ) -> StreamReport:
        """Read `fd` to its end into the new 0600 file `path`. Seconds as in `Intake.report`.

        Raises Outgrown (over `cap` bytes), DeadlineExceeded, Interrupted, DiskFull, Precondition (`path` cannot be
        written), DumpFailed (`fd` cannot be read).
        """


class Progress(Protocol):
    """Live figures for a terminal; also keeps nothing and may be a no-op."""

    def start(self, source: str, expected: int | None = None) -> None:
        """A source's data begins to move; `expected` bytes come from history or the probe."""

    def update(self, source: str, done: int) -> None:
        """`done` bytes in all have moved."""

    def finish(self, source: str, state: str) -> None:
        """The source ended in `state`."""

    def close(self) -> None:
        """Give the terminal back, whatever is still under way; safe to call again."""


@dataclass(frozen=True)
class Finding:
    """Something that people must know: `level` is info, warning or error; message in our grammar."""

    level: Literal["info", "warning", "error"]
    message: str
    hint: str | None = None
