"""Which server this is: MariaDB or MySQL, and its version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from orchestrator.model.errors import Precondition

Kind = Literal["mariadb", "mysql"]
LABEL: dict[Kind, str] = {"mariadb": "MariaDB", "mysql": "MySQL"}
OWN = frozenset({"mysql", "information_schema", "performance_schema", "sys"})  # databases of the server itself


@dataclass(frozen=True)
class Server:
    """version: (10, 11, 6)."""

    kind: Kind
    version: tuple[int, ...]

    @property
    def text(self) -> str:
        """For people."""
        return f"{LABEL[self.kind]} {'.'.join(map(str, self.version))}"


def server_of(said: str, where: str) -> Server:
    """Read what a server answers to VERSION(). Raises Precondition."""
    match = re.match(r"(?:5\.5\.5-)?(\d+)\.(\d+)(?:\.(\d+))?", said)
    if match is None:
        raise Precondition(
            f"{where}: the server's version is not understood: {said!r}", "see that it is MariaDB or MySQL"
        )
    return Server("mariadb" if "mariadb" in said.lower() else "mysql", tuple(int(part or 0) for part in match.groups()))
