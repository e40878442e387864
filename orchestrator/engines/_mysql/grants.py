"""What SHOW GRANTS says, as something that can be asked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.engines._mysql.connection import Session

_NAME = r"(\*|`(?:[^`]|``)*`)"
_LINE = re.compile(
    rf"(GRANT|REVOKE) (.+?) ON (?:(TABLE|FUNCTION|PROCEDURE|PACKAGE BODY|PACKAGE) )?{_NAME}\.{_NAME} (?:TO|FROM) (.*)",
    re.DOTALL,
)
_ACCOUNT = re.compile(r"(?:`(?:[^`]|``)*+`|'(?:[^']|'')*+')@", re.DOTALL)  # a role of MariaDB has no host
_COLUMNS = re.compile(r"\([^()]*\)")
_ALL = ("ALL PRIVILEGES", "ALL")


@dataclass(frozen=True)
class Grant:
    """One line. database: a pattern as the server has it (`%`, `_`, and backslash before a literal one), "*" for all ·
    table: "*" for all · role: whose it is, not the user's own.
    """

    privileges: frozenset[str]
    database: str
    table: str
    revoked: bool = False
    role: bool = False

    def gives(self, privilege: str) -> bool:
        """Whether it is about a privilege."""
        return privilege in self.privileges or any(word in self.privileges for word in _ALL)


def _fits(pattern: str, name: str) -> bool:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    text = "".join(wild.get(part) or re.escape(part[1:] if len(part) > 1 else part) for part in parts)
    return pattern == name or re.fullmatch(text, name, re.DOTALL) is not None


def _rank(pattern: str) -> int:
    """Return how specific a pattern is, as both servers sort theirs: by where the first wildcard stands."""
    first = re.match(r"(?:\\.|[^%_])*+[%_]", pattern, re.DOTALL)
    return min(first.end(), 127) if first else 128


@dataclass(frozen=True)
class Grants:
    """All that a user may. user: as it is written in GRANT … TO · literal: names of databases are no patterns (MySQL's
    partial_revokes).
    """

    user: str
    lines: tuple[Grant, ...]
    literal: bool = False

    def has(self, privilege: str, database: str = "*", table: str = "*") -> bool:
        """Whether the user has a privilege on a whole database, on one table, or everywhere.

        Of the grants on databases the server applies one alone, the most specific that fits: a narrower grant hides a
        wider one. Those on everything, on tables and of roles add to it.
        """
        concerned = [line for line in self.lines if line.gives(privilege)]
        if any(line.revoked and self._about(line, database, table) for line in concerned):
            return False
        given = [line for line in concerned if not line.revoked]
        if any(line.database == "*" for line in given):
            return True
        if table != "*" and any((line.database, line.table) == (database, table) for line in given):
            return True
        return any(_given(privilege, self._applied(database, role=role)) for role in (False, True))

    def _about(self, line: Grant, database: str, table: str) -> bool:
        there = line.database == "*" or (database != "*" and self._fits(line, database))
        return there and line.table in ("*", table)

    def _fits(self, line: Grant, database: str) -> bool:
        return line.database == database or (not self.literal and _fits(line.database, database))

    def _applied(self, database: str, *, role: bool) -> list[Grant]:
        """Return what applies of the grants on databases; several where we do not know which is first."""
        own = [line for line in self.lines if line.role is role and line.table == "*" and not line.revoked]
        fitting = [line for line in own if "*" not in (line.database, database) and self._fits(line, database)]
        best = max((_rank(line.database) for line in fitting), default=0)
        return [line for line in fitting if self.literal or _rank(line.database) == best]

    def pattern(self, database: str) -> str:
        """Return how GRANT names a database."""
        if self.literal:
            return database
        return database.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")

    def hidden(self, database: str) -> list[str]:
        """Return the privileges that a first GRANT on this very database would hide, and must repeat."""
        wider = [line for line in self._applied(database, role=False) if line.database != self.pattern(database)]
        names = sorted({name for line in wider for name in line.privileges})
        return [name for name in names if self.has(name, database) and not self.has(name)]


def _given(privilege: str, lines: list[Grant]) -> bool:
    """Whether a privilege is given by each of some patterns."""
    patterns = {line.database for line in lines}
    return bool(patterns) and patterns == {line.database for line in lines if line.gives(privilege)}


def parse(user: str, lines: Iterable[str], *, literal: bool = False) -> Grants:
    """Read the lines of SHOW GRANTS. Memberships, grants of columns and of single routines are left out."""
    found: list[Grant] = []
    for line in lines:
        match = _LINE.match(line)
        if match is None or match[3] not in (None, "TABLE"):
            continue
        words = [word.strip() for word in re.split(r",(?![^(]*\))", match[2])]
        names = frozenset(word for word in words if not _COLUMNS.search(word))
        if names:
            role = _ACCOUNT.match(match[6]) is None
            found.append(Grant(names, _unquoted(match[4]), _unquoted(match[5]), match[1] == "REVOKE", role))
    return Grants(user, tuple(found), literal)


def _unquoted(name: str) -> str:
    return name if name == "*" else name[1:-1].replace("``", "`")


def grants_of(session: Session) -> Grants:
    """Ask what the user of a session may, with the roles that a client program's session has, too."""
    user, host = str(session.value("SELECT CURRENT_USER()")).rpartition("@")[::2]
    using, literal = "", False
    if session.server.kind == "mysql":
        roles = str(session.value("SELECT CURRENT_ROLE()"))
        using = "" if roles in {"NONE", ""} else f" FOR CURRENT_USER() USING {roles}"
        literal = any(state == "ON" for _, state in session.execute("SHOW GLOBAL VARIABLES LIKE 'partial\\_revokes'"))
    lines = [str(line) for (line,) in session.execute(f"SHOW GRANTS{using}")]
    return parse(f"{_quoted(user)}@{_quoted(host)}", lines, literal=literal)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
