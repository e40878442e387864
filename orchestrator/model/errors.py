"""The error tree and its exit codes.

ResguardoError                     1  failed
├── NoSuchPoint                    1  no restore point answers the question
├── GuardRefused                   1  retention would remove more than its guard allows
├── DumpFailed                     1  a dump ended badly, was cut short or is empty
├── DataDamaged                    1  bytes read back differ from what was stored
├── RestoreFailed                  1  a restore could not be completed or did not verify
├── ParentGone                     1  the snapshot given as parent is not there any more
├── DeadlineExceeded               1  a child or a wait outlived its deadline
├── UsageError                     2  the command line
├── PolicyInvalid                  2  policy.yml or services.yml, with every problem found
├── Precondition                   4  something outside must be mended first
│   ├── ToolMissing                4  a program is absent or too old
│   ├── RepositoryMissing          4  restic exit 10
│   ├── WrongPassword              4  restic exit 12, or a password that cannot be read
│   ├── RepositoryUnreachable      4  the repository's server does not answer
│   ├── ServerUnreachable          4  a database or socket does not answer
│   │   └── NotRunning             4  nothing answers there, for certain: nobody listens, or the container is stopped
│   ├── RightsMissing              4  a role or a file mode is not enough
│   ├── DiskFull                   4  a repository, staging or state disk
│   └── ForeignMachine             4  another machine wrote under this host name
├── Busy                          11  our lock, or restic's
│   ├── RunLocked                 11
│   └── RepositoryLocked          11
├── Interrupted              130/143  SIGINT, or SIGTERM and SIGHUP
└── Bug                           70  an invariant of ours does not hold
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PARTIAL = 3
EXIT_PRECONDITION = 4
EXIT_BUSY = 11
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

_WORST_FIRST = (70, 130, 143, 2, 4, 11, 1, 3, 0)


def worst(codes: Iterable[int]) -> int:
    """Return the worst of exit codes by the order 70 > 130/143 > 2 > 4 > 11 > 1 > 3 > 0; none is 0."""
    seen = set(codes)
    return next((code for code in _WORST_FIRST if code in seen), EXIT_FAILED if seen else EXIT_DONE)


class ResguardoError(Exception):
    """A failure with a message for people (lowercase: what and where) and a hint (what to do)."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nHINT: {self.hint}" if self.hint else self.message


class NoSuchPoint(ResguardoError):
    """No restore point answers the question."""


class GuardRefused(ResguardoError):
    """Retention would remove more than its guard allows."""


class DumpFailed(ResguardoError):
    """A dump ended badly, was cut short or is empty."""


class DataDamaged(ResguardoError):
    """Bytes read back differ from what was stored."""


class RestoreFailed(ResguardoError):
    """A restore could not be completed, or what it made did not verify."""


class DeadlineExceeded(ResguardoError):
    """A child or a wait outlived its deadline."""


class ParentGone(ResguardoError):
    """The snapshot given as parent is no longer there; store once more without it."""


class UsageError(ResguardoError):
    """The command line asks for something that cannot be."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True, order=True)
class Problem:
    """One fault of a policy file: where it is, which key, what is wrong, and the remedy."""

    file: str
    line: int
    column: int
    key: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        text = f"{self.file}:{self.line}:{self.column}: {key}{self.message}"
        return f"{text}\nHINT: {self.hint}" if self.hint else text


class PolicyInvalid(ResguardoError):
    """policy.yml or services.yml is not valid; `problems` holds all that is wrong in both."""

    exit_code = EXIT_USAGE

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Precondition(ResguardoError):
    """Something outside must be mended before the command can do its work."""

    exit_code = EXIT_PRECONDITION


class ToolMissing(Precondition):
    """A program is absent or too old."""


class RepositoryMissing(Precondition):
    """There is no repository at the configured place."""


class WrongPassword(Precondition):
    """The repository's password is wrong, empty or cannot be read."""


class RepositoryUnreachable(Precondition):
    """The repository's server does not answer in time or refuses us."""


class ServerUnreachable(Precondition):
    """A database server or a socket does not answer."""


class NotRunning(ServerUnreachable):
    """Nothing answers there, for certain: nobody listens, or the container is stopped."""


class RightsMissing(Precondition):
    """A role's grants or a file's mode do not suffice."""


class DiskFull(Precondition):
    """A disk that we must write to has too little room."""


class ForeignMachine(Precondition):
    """Another machine wrote restore points under this host name."""


class Busy(ResguardoError):
    """Somebody else holds what we need."""

    exit_code = EXIT_BUSY


class RunLocked(Busy):
    """Another run of this policy is under way."""


class RepositoryLocked(Busy):
    """restic's repository lock is held by somebody."""


class Interrupted(ResguardoError):
    """We were told to stop by a signal."""

    def __init__(self, message: str, exit_code: int = EXIT_INTERRUPTED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Bug(ResguardoError):
    """An invariant of ours does not hold; please report it."""

    exit_code = EXIT_BUG
