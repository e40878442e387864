"""Choose client programs that fit a server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from orchestrator.model.errors import ToolMissing
from orchestrator.model.execution import Executor, Undo

NEWEST = 40  # majors above the server's that are looked for
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
    major = server // 10000
    usual = [f"/usr/{base}{number}/bin" for number in range(major, major + NEWEST) for base in _BASES]
    newest = 0
    for place in [folder] if folder else [*usual, ""]:
        path = at.which(os.path.join(place, "pg_dump"))
        if not path:
            continue
        tools = _inspect(at, undo, path, place)
        if tools.major >= major:
            return tools
        newest = max(newest, tools.major)
    found = (
        f"pg_dump {newest} is older than the server" if newest else f"pg_dump is not in {folder or 'any usual place'}"
    )
    raise ToolMissing(
        f"{found}, which is PostgreSQL {major}",
        f"install postgresql-client-{major} or newer, or set tools to its folder",
    )


_BASES = ("lib/postgresql/", "pgsql-")


def _inspect(at: Executor, undo: Undo, path: str, place: str) -> Tools:
    text = _known(path) or at.run([path, "--version"], undo=undo, deadline=30.0).stdout.decode(errors="replace").strip()
    match = re.search(r"(\d+)(?:\.(\d+))?", text)
    if match is None:
        raise ToolMissing(f"{path} does not tell its version: {text!r}", "reinstall the PostgreSQL client programs")
    _remember(path, text)
    return Tools(place, int(match[1]), int(match[2] or 0), match[0])


# A dump of fifty small databases must not ask fifty times: a program's answer is kept by its file's identity.
_ANSWERS: dict[tuple[str, int, int, int], str] = {}


def _identity(path: str) -> tuple[str, int, int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return path, stat.st_ino, stat.st_mtime_ns, stat.st_size


def _known(path: str) -> str:
    identity = _identity(path)
    return _ANSWERS.get(identity, "") if identity else ""


def _remember(path: str, text: str) -> None:
    identity = _identity(path)
    if identity:
        _ANSWERS[identity] = text
