"""Secret references turned into secrets: from a private file, the environment, or a program."""

from __future__ import annotations

import os
import shlex
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Mapping

from orchestrator.adapters.interrupts import PROCESS, Interrupts
from orchestrator.model.errors import Precondition, RightsMissing
from orchestrator.model.secret import Secret
from orchestrator.policy.secret_ref import SecretRef

DEADLINE = 30.0
MAX_BYTES = 1 << 16
_PASSED_ON = ("PATH", "HOME", "LANG")


class SecretStore:
    """Resolves references, each once. directory: of policy.yml, where commands run. May be called from threads."""

    def __init__(
        self,
        directory: str,
        environ: Mapping[str, str] | None = None,
        *,
        deadline: float = DEADLINE,
        interrupts: Interrupts = PROCESS,
    ) -> None:
        self._directory = directory
        self._environ = os.environ if environ is None else environ
        self._deadline = deadline
        self._interrupts = interrupts
        self._known: dict[SecretRef, Secret] = {}
        self._learnt: set[Secret] = set()
        self._lock = threading.Lock()

    def __call__(self, ref: SecretRef) -> Secret:
        """Return the secret.

        Raises RightsMissing (a file's mode or owner), Precondition (absent, empty, failed), Interrupted.
        """
        with self._lock:
            if ref not in self._known:
                self._known[ref] = self._resolve(ref)
            return self._known[ref]

    def known(self) -> list[Secret]:
        """Return the secrets that are known so far, so that logs can leave them out."""
        with self._lock:
            return [*self._known.values(), *self._learnt]

    def learn(self, secret: Secret) -> None:
        """Take note of a secret that was found elsewhere, such as in a connection service file."""
        with self._lock:
            self._learnt.add(secret)

    def _resolve(self, ref: SecretRef) -> Secret:
        if ref.file is not None:
            return _from_file(os.path.join(self._directory, ref.file))
        if ref.env is not None:
            return _from_environment(ref.env, self._environ)
        return self._from_command(ref.command or ())

    def _from_command(self, argv: tuple[str, ...]) -> Secret:
        what = f"the secret's command {argv[0]}"
        env = {name: self._environ[name] for name in _PASSED_ON if name in self._environ}
        try:
            code, output = _capture(argv, self._directory, env, self._deadline, self._interrupts)
        except TimeoutError:
            hint = "it may be waiting for an answer; it must work without a terminal"
            raise Precondition(f"{what} took longer than {self._deadline:g} s", hint) from None
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or "not a command").lower()
            raise Precondition(f"{what} cannot be started: {reason}", "check its path and mode") from None
        if code != 0:
            hint = "run it by hand, as this user and with nothing but PATH, HOME and LANG set"
            raise Precondition(f"{what} failed with exit code {code}", hint)
        return _secret(output, what)


def _capture(
    argv: tuple[str, ...], directory: str, env: Mapping[str, str], deadline: float, interrupts: Interrupts
) -> tuple[int, bytes]:
    """Return exit code and output, at most a byte more than a secret may have.

    Raises TimeoutError, OSError, Interrupted; then it is killed with all its children.
    """
    interrupts.check()
    # Its stderr is not kept: a program that fails may print what it knows. Its session is its own, to end it whole.
    child = subprocess.Popen(
        argv,
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with child:
        try:
            until = time.monotonic() + deadline
            output = _read(child, until, interrupts)
            return (0 if len(output) > MAX_BYTES else _code(child, until, interrupts)), output
        finally:
            # Not yet reaped, which `with child` does: until then the number is the group's, and no stranger's.
            os.killpg(child.pid, signal.SIGKILL)


def _read(child: subprocess.Popen[bytes], until: float, interrupts: Interrupts) -> bytes:
    output = b""
    assert child.stdout is not None  # noqa: S101 - asked for with PIPE
    fd = child.stdout.fileno()
    while len(output) <= MAX_BYTES:
        _await(fd, until, interrupts)
        block = os.read(fd, MAX_BYTES + 1 - len(output))
        if not block:
            break
        output += block
    return output


def _code(child: subprocess.Popen[bytes], until: float, interrupts: Interrupts) -> int:
    """Return how it ended, as a shell does, and leave it to be reaped: its number must stay its own till the kill."""
    ended = os.pidfd_open(child.pid)
    try:
        _await(ended, until, interrupts)
    finally:
        os.close(ended)
    state = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert state is not None  # noqa: S101 - asked for without WNOHANG
    return state.si_status if state.si_code == os.CLD_EXITED else 128 + state.si_status


def _await(fd: int, until: float, interrupts: Interrupts) -> None:
    if not interrupts.wait((fd,), max(0.0, until - time.monotonic())):
        raise TimeoutError


def _from_file(path: str) -> Secret:
    what = f"the secret file {path}"
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Precondition(f"{what} does not exist", "check the path, which starts at policy.yml's folder") from None
    except PermissionError:
        raise RightsMissing(f"{what} cannot be read", f"its owner must be user {os.geteuid()}") from None
    except OSError as error:
        raise Precondition(f"{what} cannot be read: {(error.strerror or 'failed').lower()}", "check the path") from None
    try:
        _check_private(os.fstat(descriptor), path, what)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return _secret(file.read(MAX_BYTES + 1), what)
    finally:
        os.close(descriptor)


def _check_private(status: os.stat_result, path: str, what: str) -> None:
    # Of the opened file, not of its name: it cannot be exchanged in between.
    if not stat.S_ISREG(status.st_mode):
        raise Precondition(f"{what} is not a regular file", "name a file, or a link to one")
    if status.st_uid not in (0, os.geteuid()):
        raise RightsMissing(f"{what} belongs to user {status.st_uid}", f"chown {os.geteuid()} {shlex.quote(path)}")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(status.st_mode)
        raise RightsMissing(f"{what} is open to others (mode {mode:04o})", f"chmod 600 {shlex.quote(path)}")


def _from_environment(name: str, environ: Mapping[str, str]) -> Secret:
    value = environ.get(name)
    if not value:
        state = "is not set" if value is None else "is empty"
        raise Precondition(f"the environment variable {name} {state}", "set it where resguardo is started")
    return Secret(value)


def _secret(raw: bytes, what: str) -> Secret:
    if len(raw) > MAX_BYTES:
        raise Precondition(f"{what} gives more than {MAX_BYTES >> 10} KiB", "is it the right one?")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Precondition(f"{what} gives no UTF-8 text", "write the secret as text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise Precondition(f"{what} gives an empty secret", "write the secret into it")
    if "\0" in text:
        raise Precondition(f"{what} gives a NUL character", "write the secret as text")
    return Secret(text)
