"""Starting programs with exactly the descriptors that they shall have."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache

# Descriptors of the child lie below; ours are moved above first, so that no dup2 overwrites the source of the next.
_ABOVE = 64
_DEFAULT_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGPIPE,
    signal.SIGXFSZ,
)


def spawn(argv: Sequence[str], env: Mapping[str, str], fds: Mapping[int, int]) -> int:
    """Start argv[0] (an absolute path) as leader of a new session and return its PID.

    fds: the child's descriptor → ours; 0, 1 and 2 are /dev/null unless given, every other one is closed: Python's own
    are close-on-exec, and so is made what we were born with. Raises OSError.
    """
    close_inherited()
    moved: dict[int, int] = {}
    try:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            for target, ours in ({0: null, 1: null, 2: null} | dict(fds)).items():
                moved[target] = fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
        finally:
            os.close(null)
        actions = [(os.POSIX_SPAWN_DUP2, ours, target) for target, ours in moved.items()]
        return os.posix_spawn(
            argv[0],
            list(argv),
            env,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )
    finally:
        for fd in moved.values():
            os.close(fd)


@cache
def close_inherited() -> None:
    """Let nothing that our own parent left open reach a child; once per process is enough."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2:
            with suppress(OSError):  # the listing's own descriptor is gone by now
                os.set_inheritable(fd, False)  # noqa: FBT003 - the signature is not ours


def forbid_core_dumps() -> None:
    """Keep passwords and data of this process and all its children out of core files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
