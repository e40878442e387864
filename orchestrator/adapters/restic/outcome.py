"""How a restic process ended, and which of our errors that is.

Exit codes as documented since restic 0.17.1: 10 no repository, 11 locked, 12 wrong password, 3 partial; 1 and 130 after
an interrupt. Any other code is a failure. Where restic has only exit code 1, its words on stderr decide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.adapters.restic import lines
from orchestrator.adapters.restic.holder import NOT_RUNNING, REMOVE, holder_of
from orchestrator.model.errors import (
    DeadlineExceeded,
    DiskFull,
    Precondition,
    RepositoryLocked,
    RepositoryMissing,
    RepositoryUnreachable,
    ResguardoError,
    RightsMissing,
    ToolMissing,
    WrongPassword,
)
from orchestrator.model.execution import Exit

OK, PARTIAL, MISSING, LOCKED, PASSWORD = 0, 3, 10, 11, 12
_LOOK = "look at what the repository's server or disk is doing"
_TOLD = 3  # stderr lines that go into a message
_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_ABSENT_PATHS = re.compile(r"all (?:source|target) directories/files do not exist|nothing to backup", re.IGNORECASE)
_OFFLINE = re.compile(
    r"connection refused|no such host|network is unreachable|no route to host|i/o timeout|TLS handshake|x509:|"
    r"unable to start the sftp session|server unexpectedly closed connection|connection reset by peer|"
    r"server misbehaving|40[13] (?:Unauthorized|Forbidden)|unexpected HTTP response \(40[13]\)|Access ?Denied|"
    r"InvalidAccessKeyId|SignatureDoesNotMatch|No credentials found|does not provide credentials",
    re.IGNORECASE,
)
_RIGHTS = re.compile(r"permission denied|operation not permitted|read-only file system", re.IGNORECASE)
_RETRY = re.compile(r"returned error, retrying after")
_NOISE = ("Is there a repository at the following location?", "signal interrupt received")


@dataclass(frozen=True)
class Outcome:
    """One ended restic process.

    what: the command in words ("backup") · where: "repository NAME" · stdout, stderr: all that it wrote (stderr without
    secrets; undecodable bytes as surrogates) · unreachable: why the watch gave the server up, else "" ·
    stopped: we ended it ourselves · deadline: seconds that it was given · frozen: for how many it stood still before we
    ended it, else 0 · url: the repository's, without secrets.
    """

    what: str
    where: str
    exit: Exit
    stdout: str
    stderr: str
    unreachable: str = ""
    stopped: bool = False
    deadline: float | None = None
    frozen: float = 0.0
    local: bool = False
    url: str = ""

    @property
    def code(self) -> int:
        """restic's exit code."""
        return self.exit.code

    @property
    def ours(self) -> bool:
        """Whether it was we who ended it: asked to, at its deadline, or because its server does not answer."""
        return self.stopped or self.exit.timed_out or bool(self.unreachable or self.frozen)

    @property
    def complaint(self) -> str:
        """restic's closing message, else all that it said on stderr."""
        return lines.exit_message(self.stderr) or self.stderr

    def meaning(self) -> str:
        """Return restic's last meaningful words, on one line."""
        message = lines.exit_message(self.stderr)
        said = message.split("\n") if message else list(lines.plain(self.stderr))[-_TOLD:]
        kept = [line.strip() for line in said if line.strip() and not line.startswith(_NOISE)]
        return "; ".join(kept).removeprefix("Fatal: ").rstrip(".")

    def complain(self) -> str:
        """Return "restic backup failed on repository NAME (exit 1): words"."""
        words = self.meaning()
        return f"restic {self.what} failed on {self.where} (exit {self.code})" + (f": {words}" if words else "")


def raise_unless(outcome: Outcome, *accepted: int) -> None:
    """Raise the typed error of a process that did not end in one of `accepted` (always 0) by itself."""
    ended = outcome.exit
    if ended.signal is None and not ended.timed_out and outcome.code in (OK, *accepted):
        return
    raise classify(outcome)


def classify(outcome: Outcome) -> ResguardoError:
    """Return the error that a failed process amounts to."""
    return _ours(outcome) or _by_code(outcome) or _by_words(outcome) or ResguardoError(outcome.complain())


def _ours(outcome: Outcome) -> ResguardoError | None:
    if outcome.unreachable:
        return unreachable(outcome, outcome.unreachable)
    if outcome.frozen:
        return DeadlineExceeded(
            f"restic {outcome.what} on {outcome.where} stood still for {outcome.frozen:.0f} s",
            f"{_LOOK}; then try again",
        )
    if outcome.exit.timed_out:
        return DeadlineExceeded(
            f"restic {outcome.what} on {outcome.where} outlived its deadline of {outcome.deadline or 0:.0f} s",
            f"raise the source's `timeout`, or {_LOOK}" if outcome.what == "backup" else f"{_LOOK}; then try again",
        )
    if outcome.stopped:
        return ResguardoError(f"restic {outcome.what} on {outcome.where} was stopped")
    return None


def _by_code(outcome: Outcome) -> ResguardoError | None:
    if outcome.code == MISSING:
        return RepositoryMissing(
            f"{outcome.where}: there is none at {outcome.url}",
            "is its disk mounted, and its url right? `resguardo init` creates a new one",
        )
    if outcome.code == PASSWORD:
        return WrongPassword(f"the password of {outcome.where} is wrong", "check what its `password` refers to")
    if outcome.code == LOCKED:
        return _locked(outcome)
    if outcome.code in (126, 127) and not lines.exit_message(outcome.stderr):
        return ToolMissing(outcome.complain(), "check restic.path, and that nice and ionice are installed")
    return None


def _locked(outcome: Outcome) -> RepositoryLocked:
    holder = holder_of(outcome.complaint)
    told = f"{outcome.where} is locked" + (f" {holder}" if holder else f": {outcome.meaning()}")
    if holder is not None and holder.gone():
        return RepositoryLocked(f"{told}, and {NOT_RUNNING}", REMOVE)
    return RepositoryLocked(told, f"wait for the other process; {REMOVE}")


def _by_words(outcome: Outcome) -> ResguardoError | None:
    words = outcome.complaint
    if _FULL.search(outcome.stderr):
        return DiskFull(
            f"no space left for restic {outcome.what} on {outcome.where}: {_line(outcome.stderr, _FULL)}",
            "make room on the disk named here, or on that of the temporary directory",
        )
    if _ABSENT_PATHS.search(words):
        return Precondition(f"none of the paths to store in {outcome.where} is there", "check `paths` in services.yml")
    if not outcome.local and (_OFFLINE.search(words) or _RETRY.search(outcome.stderr)):
        return unreachable(outcome, outcome.meaning())
    if _RIGHTS.search(words):
        return RightsMissing(outcome.complain(), "check owner and mode of the repository and the cache directory")
    return None


def unreachable(outcome: Outcome, why: str) -> RepositoryUnreachable:
    """Return the error for a server that does not answer, or refuses us."""
    return RepositoryUnreachable(
        f"the server of {outcome.where} cannot be used: {why}", "check its url, credentials and the network"
    )


def _line(text: str, pattern: re.Pattern[str]) -> str:
    for message in [*(str(line.get("message", "")) for line in lines.objects(text)), *lines.plain(text)]:
        for line in message.split("\n"):
            if pattern.search(line):
                return line.strip().removeprefix("Fatal: ")
    return "restic said so"
