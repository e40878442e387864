"""What belongs to a database itself and is in no dump of it: character set, collation, comment.

A dump begins with a few comment lines of ours that hold it; clients ignore them.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass

from orchestrator.engines._mysql.connection import Session
from orchestrator.engines._mysql.quoting import ident, literal
from orchestrator.model.errors import Precondition

MAGIC = b"-- Resguardo: a MariaDB or MySQL database, format 1\n"
ADVICE = (
    b"-- By hand: make an empty database of the character set and collation below, then load this file into it with\n"
    b"-- mariadb --binary-mode NEW_DATABASE < THIS_FILE, or mysql; see that the file is whole: its last line is\n"
    b"-- 'Dump completed'. Events that are enabled begin to run at once.\n"
)
_KEY = b"-- database: "
LIMIT = 32_000  # bytes within which a header ends: a comment has at most 1024 letters


@dataclass(frozen=True)
class Header:
    """A database's own attributes. comment: MariaDB's, None on MySQL."""

    charset: str
    collation: str
    comment: str | None = None

    def text(self) -> bytes:
        """Return the comment lines."""
        line = json.dumps(asdict(self), ensure_ascii=True, sort_keys=True).encode()
        return MAGIC + ADVICE + _KEY + line + b"\n"

    def clauses(self) -> str:
        """Return what follows CREATE DATABASE NAME and ALTER DATABASE NAME."""
        comment = f" COMMENT {literal(self.comment)}" if self.comment else ""
        return f" CHARACTER SET {ident(self.charset)} COLLATE {ident(self.collation)}{comment}"


def read(session: Session, database: str) -> Header:
    """Ask the server. Raises Precondition when there is no such database."""
    comment = "SCHEMA_COMMENT" if has_comments(session) else "NULL"
    query = f"""SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, {comment}
        FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s"""  # noqa: S608 - constant
    for name, charset, collation, said in session.execute(query, [database]):
        if name == database:
            return Header(str(charset), str(collation), said or None)
    raise Precondition(
        f"there is no database {database!r}, or the user may not see it", "correct database, or create it"
    )


def has_comments(session: Session) -> bool:
    """Whether databases have comments (MariaDB 10.5.0)."""
    return session.server.kind == "mariadb" and session.server.version >= (10, 5)


def complete(head: bytes) -> bool:
    """Whether these first bytes hold all of a header, or will never."""
    if not head.startswith(MAGIC[: len(head)]):
        return True
    place = head.find(_KEY)
    return place >= 0 and b"\n" in head[place:]


def parse(head: bytes) -> Header | None:
    """Read a header back; None when there is none."""
    if not head.startswith(MAGIC):
        return None
    line = next((line for line in head.split(b"\n") if line.startswith(_KEY)), b"")
    with suppress(ValueError, TypeError):
        known = json.loads(line[len(_KEY) :])
        return Header(str(known["charset"]), str(known["collation"]), known.get("comment"))
    return None


def exists(session: Session, name: str) -> bool:
    """Whether the server has a database of this name."""
    rows = session.execute("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", [name])
    return any(found == name for (found,) in rows)
