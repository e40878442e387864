"""Choose client programs that fit a server."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass

from orchestrator.engines._mysql.server import LABEL, Kind, Server
from orchestrator.model.errors import ToolMissing
from orchestrator.model.execution import Executor, Finding, Undo

_DUMPS: tuple[str, ...] = ("mariadb-dump", "mysqldump")
_CLIENTS: tuple[str, ...] = ("mariadb", "mysql")
_HISTORY = (10, 11)  # the first mariadb-dump that writes the history of system-versioned tables
_PACKAGE: dict[Kind, str] = {"mariadb": "mariadb-client", "mysql": "mysql-client"}
_KNOWN_FOR = 60.0  # seconds that a program's version is believed: fifty databases must not ask fifty times


@dataclass(frozen=True)
class Tool:
    """One program. kind: of which of the two it is, whatever its name."""

    path: str
    kind: Kind
    version: tuple[int, ...]

    @property
    def text(self) -> str:
        """For people."""
        return f"{os.path.basename(self.path)} {'.'.join(map(str, self.version))}"

    @property
    def writes_history(self) -> bool:
        """Whether it dumps the past of system-versioned tables."""
        return self.kind == "mariadb" and self.version >= _HISTORY

    def findings(self, server: Server) -> tuple[Finding, ...]:
        """Say how it does not quite fit."""
        package = _PACKAGE[server.kind]
        if self.kind != server.kind:
            text = f"{self.text} is {LABEL[self.kind]}'s, the server is {server.text}"
            return (Finding("warning", text, f"install {package}, or set tools to its folder"),)
        if self.version[:2] < server.version[:2]:
            text = f"{self.text} is older than the server, {server.text}"
            return (Finding("warning", text, f"install a newer {package}, or set tools to its folder"),)
        return ()


def dumper(at: Executor, undo: Undo, server: Server, folder: str | None) -> Tool:
    """Choose the program that dumps. Raises ToolMissing."""
    return _choose(at, undo, server, folder, _DUMPS)


def loader(at: Executor, undo: Undo, server: Server, folder: str | None) -> Tool:
    """Choose the program that loads. Raises ToolMissing."""
    return _choose(at, undo, server, folder, _CLIENTS)


def _choose(at: Executor, undo: Undo, server: Server, folder: str | None, names: tuple[str, ...]) -> Tool:
    """The server's own kind first. MySQL's programs know nothing of what MariaDB has more (sequences, packages,
    history): they are never used with it. MariaDB's serve MySQL where no column is generated.
    """
    found = []
    for name in names if server.kind == "mariadb" else reversed(names):
        path = at.which(os.path.join(folder, name) if folder else name)
        if path:
            found.append(_inspect(at, undo, path))
    for tool in found:
        if tool.kind == server.kind:
            return tool
    if found and server.kind == "mysql":
        return found[0]
    where = folder or "PATH"
    inside = f" in {at.place}" if at.place else ""
    other = f"; {found[0].path} is {LABEL[found[0].kind]}'s, which does not know all of {server.text}" if found else ""
    wanted = names[0] if server.kind == "mariadb" else names[1]
    raise ToolMissing(
        f"{wanted} is not in {where}{inside}{other}", f"install {_PACKAGE[server.kind]}, or set tools to its folder"
    )


_ANSWERS: dict[tuple[str, str], tuple[float, Tool]] = {}


def _inspect(at: Executor, undo: Undo, path: str) -> Tool:
    when, known = _ANSWERS.get((at.place, path), (0.0, None))
    if known is not None and time.monotonic() - when < _KNOWN_FOR:
        return known
    ran = at.run([path, "--version"], undo=undo, deadline=30.0)
    text = ran.stdout.decode(errors="replace").strip()
    # "mysqldump  Ver 10.19 Distrib 10.11.6-MariaDB, for …", "mariadb-dump from 11.8.6-MariaDB, …",
    # "mysqldump  Ver 9.7.4 for …"
    match = re.search(r"(?:Distrib|from) (\d+(?:\.\d+)+)", text) or re.search(r"Ver (\d+(?:\.\d+)+)", text)
    if match is None or not ran.exit.ok:
        raise ToolMissing(f"{path} does not tell its version: {text[:200]!r}", "reinstall the client programs")
    kind: Kind = "mariadb" if "mariadb" in text.lower().replace("mariadb-dump", "") else "mysql"
    tool = Tool(path, kind, tuple(int(part) for part in match[1].split(".")))
    _ANSWERS[at.place, path] = (time.monotonic(), tool)
    return tool
