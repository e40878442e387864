"""What SHOW GRANTS says, as something that can be asked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.engines._mysql.connection import Session

_NAME = r"(\*|`(?:[^`]|``)*`)"
_LINE = re.compile(
    rf"(GRANT|REVOKE) (.+?) ON (?:(TABLE|FUNCTION|PROCEDURE|PACKAGE BODY|PACKAGE) )?{_NAME}\.{_NAME} (?:TO|FROM) ",
    re.DOTALL,
)
_COLUMNS = re.compile(r"\([^()]*\)")
_ALL = ("ALL PRIVILEGES", "ALL")


@dataclass(frozen=True)
class Grant:
    """One line. database: a pattern as the server has it (`%`, `_`, and backslash before a literal one), "*" for all ·
    table: "*" for all.
    """

    privileges: frozenset[str]
    database: str
    table: str
    revoked: bool = False

    def covers(self, database: str, table: str) -> bool:
        """Whether it concerns this table; "*" asks for all of a database, or of the server."""
        there = self.database == "*" or (database != "*" and _fits(self.database, database))
        return there and self.table in ("*", table)


def _fits(pattern: str, name: str) -> bool:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    text = "".join(wild.get(part) or re.escape(part[1:] if len(part) > 1 else part) for part in parts)
    return pattern == name or re.fullmatch(text, name, re.DOTALL) is not None


@dataclass(frozen=True)
class Grants:
    """All that a user may. user: as it is written in GRANT … TO."""

    user: str
    lines: tuple[Grant, ...]

    def has(self, privilege: str, database: str = "*", table: str = "*") -> bool:
        """Whether the user has a privilege on a whole database, on one table, or everywhere."""
        held = False
        for line in self.lines:
            named = privilege in line.privileges or any(word in line.privileges for word in _ALL)
            if named and line.covers(database, table):
                held = not line.revoked
        return held


def parse(user: str, lines: Iterable[str]) -> Grants:
    """Read the lines of SHOW GRANTS. Memberships, grants of columns and of single routines are left out."""
    found: list[Grant] = []
    for line in lines:
        match = _LINE.match(line)
        if match is None or match[3] not in (None, "TABLE"):
            continue
        words = [word.strip() for word in re.split(r",(?![^(]*\))", match[2])]
        names = frozenset(word for word in words if not _COLUMNS.search(word))
        if names:
            found.append(Grant(names, _unquoted(match[4]), _unquoted(match[5]), match[1] == "REVOKE"))
    # What is revoked of a wider grant (MySQL's partial revokes) counts, wherever it is listed.
    return Grants(user, tuple(sorted(found, key=lambda grant: grant.revoked)))


def _unquoted(name: str) -> str:
    return name if name == "*" else name[1:-1].replace("``", "`")


def grants_of(session: Session) -> Grants:
    """Ask what the user of a session may, with the roles that a client program's session has, too."""
    user, host = str(session.value("SELECT CURRENT_USER()")).rpartition("@")[::2]
    using = ""
    if session.server.kind == "mysql":
        roles = str(session.value("SELECT CURRENT_ROLE()"))
        using = "" if roles in {"NONE", ""} else f" FOR CURRENT_USER() USING {roles}"
    lines = [str(line) for (line,) in session.execute(f"SHOW GRANTS{using}")]
    return parse(f"{_quoted(user)}@{_quoted(host)}", lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
