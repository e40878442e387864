"""Choose client programs that fit a server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from time import monotonic

from orchestrator.model.errors import ToolMissing
from orchestrator.model.execution import Executor, Undo

NEWEST = 20  # majors, from the server's on, that are looked for
# First minor version of each major whose pg_dump knows --restrict-key (releases of August 2025).
_RESTRICT = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}


@dataclass(frozen=True)
class Tools:
    """Programs of one installation. folder: "" when they are found on PATH."""

    folder: str
    major: int
    minor: int
    version: str

    def path(self, program: str) -> str:
        """Return what to execute."""
        return os.path.join(self.folder, program) if self.folder else program

    @property
    def restricts(self) -> bool:
        """Whether pg_dump and pg_dumpall know --restrict-key."""
        return self.major > 17 or self.minor >= _RESTRICT.get(self.major, 1 << 30)


def choose(at: Executor, undo: Undo, server: int, folder: str | None = None) -> Tools:
    """Choose the oldest installation that is not older than the server (its number, 150018): pg_dump refuses newer
    servers, and what a newer one writes an older server may not understand.

    folder: look only there. Raises ToolMissing.
    """
    key = (at.place, folder, os.environ.get("PATH"), server)
    known = _KNOWN.get(key)
    if known and monotonic() < known[0]:
        return known[1]
    found = _choose(at, undo, server // 10000, folder)
    _KNOWN[key] = monotonic() + _KEPT, found
    return found


# Fifty small databases must not ask fifty times, and inside a container each question is a program that is started. An
# answer that is out of date does no harm: pg_dump itself refuses a newer server, and options that it does not know.
_KNOWN: dict[tuple[str, str | None, str | None, int], tuple[float, Tools]] = {}
_KEPT = 300.0  # seconds


def _choose(at: Executor, undo: Undo, major: int, folder: str | None) -> Tools:
    newest, spare = 0, None
    for place in [folder] if folder else _places(major):
        path = at.which(os.path.join(place, "pg_dump"))
        if not path:
            continue
        tools = _inspect(at, undo, path, place)
        if tools.major >= major and (place or tools.major == major):
            return tools
        newest = max(newest, tools.major)
        spare = tools if tools.major > major else spare
    if spare is None:
        raise _missing(at, major, newest, folder)
    return spare


def _places(major: int) -> list[str]:
    """Return the folders to look into, that of the server's own version first; "" is PATH, as images have it."""
    usual = [[f"/usr/{base}{number}/bin" for base in _BASES] for number in range(major, major + NEWEST)]
    return [*usual[0], "", *(place for places in usual[1:] for place in places)]


def _missing(at: Executor, major: int, newest: int, folder: str | None) -> ToolMissing:
    where = f" in {at.place}" if at.place else ""
    text = f"pg_dump is not in {folder or 'any usual place'}{where}; the server is PostgreSQL {major}"
    if newest:
        text = f"pg_dump {newest}{where} is older than the server, which is PostgreSQL {major}"
    hint = f"install postgresql-client-{major} or newer, or set tools to its folder"
    if at.place:
        hint = "set tools to its folder there; or leave out container, and let host or socket lead to the server"
    return ToolMissing(text, hint)


_BASES = ("lib/postgresql/", "pgsql-")


def _inspect(at: Executor, undo: Undo, path: str, place: str) -> Tools:
    text = at.run([path, "--version"], undo=undo, deadline=30.0).stdout.decode(errors="replace").strip()
    match = re.search(r"(\d+)(?:\.(\d+))?", text)
    if match is None:
        raise ToolMissing(f"{path} does not tell its version: {text!r}", "reinstall the PostgreSQL client programs")
    return Tools(place, int(match[1]), int(match[2] or 0), match[0])
