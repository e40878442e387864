"""One restic process: argument vector, private room, output in memory files, a watch over it, and its outcome.

stdout and stderr are files, never pipes: when we die restic must live on to remove its lock, not die of SIGPIPE.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from orchestrator.adapters.launch import Tail, memory_file, polite
from orchestrator.adapters.redaction import redact
from orchestrator.adapters.restic import environment, version
from orchestrator.adapters.restic.environment import MakeDir, Room
from orchestrator.adapters.restic.outcome import Outcome
from orchestrator.adapters.restic.patience import Patience, Stillness, activity_of
from orchestrator.adapters.restic.retry import Retried, Running
from orchestrator.adapters.restic.settings import Settings
from orchestrator.model.execution import Exit, Proc, Role, Undo

STALL = 1800.0  # seconds without any work after which a call that may take days counts as frozen
_LOOK_EVERY = 0.25  # seconds between two looks at the output
# restic sleeps up to a minute between two tries for a lock: silence then proves nothing.
_LOCK_SLEEP = 90.0
_FIRST, _LAST = 1 << 20, 3 << 20  # bytes of stderr that are read
_REMOTE = ("sftp:", "rest:", "s3:", "b2:", "azure:", "gs:", "swift:", "rclone:")
_SSH = "-oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=30"


class Launcher(Protocol):
    """Starts a child that runs its first instruction only after `undo` has acknowledged it (`launch.launch`)."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        undo: Undo,
        role: Role,
        repository: str,
        env: Mapping[str, str],
        stdout: int | None,
        stderr: int | None,
        deadline: float | None,
    ) -> Proc:
        """Start argv with a clean environment plus `env`, stdin from /dev/null. Raises ToolMissing, Precondition."""


@dataclass(frozen=True)
class Request:
    """One restic call. what: in words, for messages · args: after the global flags, without --json.

    deadline: seconds, without waiting for a lock; None: as long as it takes · stall: seconds without work after which
    it is stopped, without waiting for a lock; None: never · locks: it takes a lock · waits: for a lock in its way ·
    stdout: the caller's descriptor, None for a file · files: written into the room first, `{room}/NAME` in args is
    their path · on_line: gets every line of stdout, in the watching thread · limit: bytes of stdout after which it is
    stopped.
    """

    what: str
    args: Sequence[str]
    deadline: float | None
    stall: float | None = None
    locks: bool = False
    waits: bool = True
    stdout: int | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    on_line: Callable[[bytes], None] | None = None
    limit: int | None = None


def is_remote(url: str) -> bool:
    """Say whether the repository is behind a server."""
    return url.startswith(_REMOTE)


class Runner:
    """Starts restic on one repository and counts how often."""

    def __init__(self, settings: Settings, launcher: Launcher, private_dir: MakeDir) -> None:
        self.settings = settings
        self.started = 0
        self._launch = launcher
        self._private_dir = private_dir
        self._version = ""
        self._lock = threading.Lock()

    def version(self) -> str:
        """Return restic's version, checked once. Raises ToolMissing."""
        with self._lock:
            self._version = self._version or version.ensure(self.settings.program, self.settings.cache)
            return self._version

    def start(self, request: Request, undo: Undo) -> Running:
        """Start one call. Raises ToolMissing, WrongPassword and what resolving the password raises."""
        self.version()
        if self._patience(request):
            return Retried(lambda waits: self._start_one(replace(request, waits=waits), undo))
        return self._start_one(request, undo)

    def _start_one(self, request: Request, undo: Undo) -> Call:
        room = Room(self._private_dir, undo)
        try:
            return self._start_in(room, request, undo)
        except BaseException:
            room.remove()
            raise

    def _patience(self, request: Request) -> float:
        """Return the seconds that restic shall wait for a lock; it takes whole ones."""
        wanted = request.locks and request.waits and self.settings.retry_lock >= 1
        return self.settings.retry_lock if wanted else 0.0

    def run(self, request: Request, undo: Undo) -> Outcome:
        """Start one call and wait for its end."""
        call = self.start(request, undo)
        try:
            return call.wait()
        finally:
            call.stop()

    def _start_in(self, room: Room, request: Request, undo: Undo) -> Call:
        env = environment.build(self.settings, room, os.environ)
        for name, data in request.files.items():
            room.write(name, data)
        with self._lock:
            self.started += 1
        deadline = None if request.deadline is None else request.deadline + self._patience(request)
        out, err = memory_file(), memory_file()
        try:
            proc = self._launch(
                self.argv(request, room),
                undo=undo,
                role="restic",
                repository=self.settings.name,
                env=env,
                stdout=out if request.stdout is None else request.stdout,
                stderr=err,
                deadline=deadline,
            )
        except BaseException:
            os.close(out)
            os.close(err)
            raise
        return Call(proc, room, out, err, request=request, settings=self.settings, deadline=deadline)

    def argv(self, request: Request, room: Room) -> list[str]:
        """Return the whole argument vector: low priority, restic, global flags, the command."""
        given = self.settings
        flags = ["--json", f"--compression={given.compression}"]
        flags += [f"--limit-upload={given.upload}"] if given.upload else []
        flags += [f"--limit-download={given.download}"] if given.download else []
        flags += [f"--retry-lock={patience:.0f}s"] if (patience := self._patience(request)) else []
        for key, value in _options(given).items():
            flags += ["-o", f"{key}={value}"]
        args = [arg.replace("{room}", room.path, 1) if arg.startswith("--files-from") else arg for arg in request.args]
        return [*polite(given.nice, given.ionice), version.locate(given.program), *flags, *args]


def _options(given: Settings) -> dict[str, str]:
    """Return `-o` options; ssh must neither ask nor wait for ever (its first mention of a setting wins)."""
    options = dict(given.options)
    if given.url.startswith("sftp:") and "sftp.command" not in options:
        options["sftp.args"] = f"{options.get('sftp.args', '')} {_SSH}".strip()
    return options


class Call:
    """A restic process under way; wait, poll and stop may come from different threads."""

    def __init__(
        self,
        proc: Proc,
        room: Room,
        out: int,
        err: int,
        *,
        request: Request,
        settings: Settings,
        deadline: float | None,
    ) -> None:
        self._proc = proc
        self._room = room
        self._out = out
        self._err = err
        self._request = request
        self._settings = settings
        self._deadline = deadline
        self._outcome: Outcome | None = None
        self._stopped = False
        self._closing = threading.Lock()
        self._over = threading.Event()
        self._unreachable = ""
        self._frozen = 0.0
        self._watch = threading.Thread(target=self._look, name=f"watch-restic-{proc.pid}", daemon=True)
        self._watch.start()

    def wait(self) -> Outcome:
        """Wait for the end. Raises Interrupted when the run is told to stop (restic is reaped then)."""
        try:
            ended = self._proc.wait()
        except BaseException:
            self.stop()
            raise
        return self._close(ended)

    def poll(self) -> Outcome | None:
        """Return the outcome if it has ended, without waiting."""
        ended = self._proc.poll()
        return None if ended is None else self._close(ended)

    def stop(self) -> None:
        """Interrupt, then kill after 1 s, and reap; safe to call again."""
        if self._outcome is None:
            self._stopped = self._proc.poll() is None
            self._close(self._proc.stop(1.0))

    def _close(self, ended: Exit) -> Outcome:
        with self._closing:
            if self._outcome is None:
                self._over.set()
                self._watch.join()
                self._outcome = self._read(ended)
                os.close(self._out)
                os.close(self._err)
                self._room.remove()
            return self._outcome

    def _read(self, ended: Exit) -> Outcome:
        given = self._settings
        secrets = environment.secret_texts(given)
        return Outcome(
            what=self._request.what,
            where=f"repository {given.name}",
            url=redact(given.url, secrets),
            exit=ended,
            stdout=_whole(self._out),
            stderr=redact(_ends(self._err), secrets),
            unreachable=redact(self._unreachable, secrets),
            stopped=self._stopped,
            deadline=self._deadline,
            frozen=self._frozen,
            local=not is_remote(given.url),
        )

    def _look(self) -> None:
        """Watch the output until the end; give up a server that does not answer."""
        patience, still = self._patience(), self._stillness()
        out, err = Tail(self._out), Tail(self._err)
        while True:
            last = self._over.wait(_LOOK_EVERY)
            if self._request.on_line is not None:
                for line in out.lines():
                    self._request.on_line(line)
            patience.opened = patience.opened or os.fstat(self._out).st_size > 0
            for said in err.lines():
                patience.hear(os.fsdecode(said), time.monotonic())
            if last:
                return
            if self._must_end(patience, still):
                self._proc.stop(1.0)
                return

    def _must_end(self, patience: Patience, still: Stillness) -> bool:
        now, activity = time.monotonic(), activity_of(self._proc.pid)
        self._unreachable = patience.judge(now, activity)
        self._frozen = still.judge(now, activity, os.fstat(self._out).st_size + os.fstat(self._err).st_size)
        limit = self._request.limit
        return bool(self._unreachable or self._frozen) or (limit is not None and os.fstat(self._out).st_size > limit)

    def _stillness(self) -> Stillness:
        stall, waits = self._request.stall, self._request.locks and self._request.waits
        return Stillness(time.monotonic(), stall and stall + (self._settings.retry_lock if waits else 0.0))

    def _patience(self) -> Patience:
        given = self._settings
        silence = given.connect + (
            min(_LOCK_SLEEP, given.retry_lock) if self._request.locks and self._request.waits else 0.0
        )
        remote = is_remote(given.url) and self._request.stdout is None
        return Patience(time.monotonic(), given.connect, silence, remote)


def _whole(fd: int) -> str:
    return os.fsdecode(os.pread(fd, os.fstat(fd).st_size, 0))


def _ends(fd: int) -> str:
    """Return a whole file, or beginning and end of a very long one: a million unreadable files are told well enough."""
    size = os.fstat(fd).st_size
    if size <= _FIRST + _LAST:
        return _whole(fd)
    return os.fsdecode(os.pread(fd, _FIRST, 0) + b"\n" + os.pread(fd, _LAST, size - _LAST))
