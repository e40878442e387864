"""Paths of this process that lead to sockets inside a container."""

from __future__ import annotations

import os
import stat
import threading
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from orchestrator.adapters.container import inside
from orchestrator.adapters.container.daemon import Container


@dataclass(frozen=True)
class Reached:
    """Something inside, found: the descriptor that keeps the way to it open, and its name in there, "" for itself."""

    fd: int
    name: str = ""

    @property
    def path(self) -> str:
        """A path of this process that leads there."""
        return f"/proc/self/fd/{self.fd}/{self.name}" if self.name else f"/proc/self/fd/{self.fd}"

    def leads_to(self, status: os.stat_result) -> bool:
        """Whether this is where it leads."""
        try:
            here = os.stat(self.name, dir_fd=self.fd, follow_symlinks=False) if self.name else os.fstat(self.fd)
        except OSError:
            return False
        return os.path.samestat(here, status)


def reach(pid: int, path: str) -> Reached | None:
    """Return the way to `path` inside, None: nothing is there. Close its descriptor after use.

    It keeps the name of what is not a folder, unless that is a link. Raises HiddenError.
    """
    with ExitStack() as spare:
        found = _kept(spare, inside.locate(pid, path))
        if found is None:
            return None
        way = Reached(found)
        status = os.fstat(found)
        if not stat.S_ISDIR(status.st_mode):
            folder = _kept(spare, inside.locate(pid, os.path.dirname(path)))
            named = None if folder is None else Reached(folder, os.path.basename(path))
            if named is not None and named.leads_to(status):
                way = named
        fd = os.dup(way.fd)
    return Reached(fd, way.name)


def _kept(stack: ExitStack, fd: int | None) -> int | None:
    if fd is not None:
        stack.callback(os.close, fd)
    return fd


class Ways:
    """The ways to a container's sockets: one descriptor for each, open until this object goes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, tuple[str, Reached]] = {}
        weakref.finalize(self, _close_all, self._found)

    def path(self, container: Container, socket: str) -> str | None:
        """Return a path that leads to a socket, found anew where it is another one by now. Raises HiddenError."""
        with self._lock:
            now = inside.status(container.pid, socket)
            started, known = self._found.get(socket, ("", None))
            if now and known and started == container.started and known.leads_to(now):
                return known.path
            if known:
                del self._found[socket]
                os.close(known.fd)
            found = reach(container.pid, socket)
            if found:
                self._found[socket] = (container.started, found)
            return found.path if found else None


def _close_all(found: Mapping[str, tuple[str, Reached]]) -> None:
    for _, way in found.values():
        os.close(way.fd)
