"""Starting children that run their first instruction only after the sentinel knows them."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache

from orchestrator.adapters.interrupts import PROCESS, Interrupts
from orchestrator.adapters.journal import Owner
from orchestrator.adapters.process import Child, Stderr
from orchestrator.adapters.sentinel import MARKER, marker, start_of
from orchestrator.adapters.spawn import spawn
from orchestrator.model.errors import Precondition, ToolMissing
from orchestrator.model.execution import KillProcess, Role, Undo
from orchestrator.model.failpoints import reach

SHELL = "/bin/sh"
GATE = 3  # a single digit: POSIX shells need not understand more
# Waits for a line on the gate; when we die first it reads the end of file and never executes the program.
_BLOCKED = f'read -r _ <&{GATE} || exit 125; exec {GATE}<&-; cd "$0" || exit 125; exec "$@"'


def launch(
    argv: Sequence[str],
    *,
    undo: Undo,
    role: Role = "dump",
    repository: str = "",
    env: Mapping[str, str] | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    deadline: float | None = None,
    interrupts: Interrupts = PROCESS,
    on_end: Callable[[], None] | None = None,
) -> Child:
    """Start argv (no shell looks at it) in its own session, in /, with a clean environment plus `env`.

    stdin, stdout: descriptors, None is /dev/null; stderr: None is a file whose tail is in Exit. The caller closes its
    own. For restic give a file as stdout (`memory_file`), never a pipe: when we die restic must be able to write while
    it cleans up. deadline: seconds · on_end: called once, after it was reaped. Raises ToolMissing, Precondition, and
    what `undo.register` raises; then nothing ran.
    """
    said = Stderr() if stderr is None else None
    given = {0: stdin, 1: stdout, 2: stderr if said is None else said.fd}
    fds = {target: fd for target, fd in given.items() if fd is not None}
    try:
        pid, release = _start_blocked(argv, env, fds)
        action = _acknowledge(undo, pid, release, role, repository)
    except BaseException:
        if said is not None:
            said.close()
        raise

    def ended() -> None:
        reach("child.reaped")
        undo.done(action)
        if on_end is not None:
            on_end()

    child = Child(pid, said, interrupts, deadline=deadline, on_end=ended)
    with suppress(BrokenPipeError):  # it was killed while it waited: its exit tells
        os.write(release, b"\n")
    os.close(release)
    reach("child.released")
    return child


def _start_blocked(argv: Sequence[str], env: Mapping[str, str] | None, fds: Mapping[int, int]) -> tuple[int, int]:
    """Start the shell that waits at the gate; return its PID and the descriptor to write a line to."""
    program = find(argv[0])
    gate, release = os.pipe()
    try:
        line = (SHELL, "-c", _BLOCKED, "/", program, *argv[1:])
        return spawn(line, clean_environment(env), {**fds, GATE: gate}), release
    except OSError as error:
        os.close(release)
        raise Precondition(
            f"{argv[0]}: cannot be started: {error.strerror}", hint="see the limits of processes and memory"
        ) from error
    finally:
        os.close(gate)


def _acknowledge(undo: Undo, pid: int, release: int, role: Role, repository: str) -> str:
    """Make the child known to the sentinel. When that fails the gate closes and the child never runs."""
    reach("child.blocked")
    try:
        action = undo.register(name_process(pid, role, repository))
    except BaseException:
        os.close(release)
        os.waitpid(pid, 0)
        raise
    reach("child.acknowledged")
    return action


def name_process(pid: int, role: Role, repository: str = "") -> KillProcess:
    """Return the action that ends this living process."""
    me = _me()
    return KillProcess(pid, start_of(pid) or 0, me.boot, me.pid_namespace, role, repository)


@cache
def _owner(pid: int) -> Owner:
    assert pid == os.getpid()  # noqa: S101 - the key only keeps a fork from inheriting the answer
    return Owner.me()


def _me() -> Owner:
    return _owner(os.getpid())


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the whole environment of a child: nothing of ours but PATH, HOME and TMPDIR reaches it."""
    me = _me()
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir,
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108 - what POSIX tools use when it is not set
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        MARKER: marker({"pid": me.pid, "start": me.start}),
        **(extra or {}),
    }


def find(tool: str) -> str:
    """Return the absolute path of a program. Raises ToolMissing."""
    path = shutil.which(tool)
    if path is None:
        raise ToolMissing(f"{tool}: no such program", hint=f"install {os.path.basename(tool)}, or correct PATH")
    return os.path.abspath(path)


@cache
def polite(nice: int | None = None, ionice: str | None = None) -> tuple[str, ...]:
    """Return the words to put before a command for a lower priority; what is not installed is left out.

    nice: 0..19 · ionice: "idle" or "best-effort".
    """
    words: list[str] = []
    if nice and (tool := shutil.which("nice")):
        words += [tool, "-n", str(nice)]
    classes = {"best-effort": "2", "idle": "3"}
    if ionice in classes and (tool := shutil.which("ionice")):
        words += [tool, "-t", "-c", classes[ionice]]
    return tuple(words)


def memory_file(content: bytes = b"") -> int:
    """Return a descriptor of a file in memory that begins with `content`, placed at its start."""
    fd = os.memfd_create("content", os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


class Tail:
    """Reads the lines of a growing file (a child's stdout) as they come, beside the child that writes it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._at = 0

    def lines(self) -> list[bytes]:
        """Return the lines that were completed since the last call, without their ends."""
        found = []
        while chunk := os.pread(self._fd, 1 << 20, self._at):
            end = chunk.rfind(b"\n") + 1
            if not end:
                break
            found += chunk[: end - 1].split(b"\n")
            self._at += end
        return found
