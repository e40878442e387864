"""Waiting for descriptors, as a port: engines must end their waits when the run is told to stop."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable

# Returns which of the descriptors are readable or hung up, after at most so many seconds (None: as long as it takes);
# raises Interrupted when the run is told to stop.
Wait = Callable[[Iterable[int], float | None], set[int]]


def poll(fds: Iterable[int], seconds: float | None) -> set[int]:
    """Return which descriptors are readable or hung up, waiting at most `seconds`; nobody can interrupt it."""
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    return {fd for fd, _ in poller.poll(None if seconds is None else max(0, seconds) * 1000)}
