"""The globals: users, roles and their grants, as SQL that the server itself says.

A restore only adds what is missing. Accounts that exist are left as they are, since a restore (or a drill) on a living
server must never bring a revoked right or an old password back.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.engines._incoming import pipe, read_whole
from orchestrator.engines._mysql.connection import Session, Target, administering, connect, one_line
from orchestrator.engines._mysql.quoting import ident
from orchestrator.model.engine import Data, DumpEnd, Item, Restored
from orchestrator.model.errors import ResguardoError, RestoreFailed
from orchestrator.model.execution import Executor, Finding, Trailer

MAGIC = b"-- Resguardo: users and grants of MariaDB or MySQL, format 1\n"
FOOTER = b"-- Resguardo: users and grants complete\n"
LIMIT = 64 << 20  # bytes that are read into memory
_MARK = b"-- resguardo: "
_COUNT = "account "
# The servers' own; nobody logs in as one of them.
_OWN = frozenset({"mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "PUBLIC"})
_SECRET = re.compile(r"IDENTIFIED|PASSWORD", re.IGNORECASE)


@dataclass(frozen=True)
class Account:
    """host is "" for MariaDB's roles, which have none."""

    user: str
    host: str
    role: bool = False

    @property
    def name(self) -> str:
        """As SQL takes it."""
        return ident(self.user) if self.role else f"{ident(self.user)}@{ident(self.host)}"

    @property
    def count(self) -> str:
        """Its key in the manifest's counts."""
        return f"{_COUNT}{self.name}"


@dataclass(frozen=True)
class Statement:
    """One statement about an account. create: it makes it, and does not grant."""

    account: Account
    sql: str
    create: bool = False

    def text(self) -> bytes:
        """Return it with a comment line that says what it is and how many bytes it has."""
        sql = self.sql.encode("utf-8", "surrogateescape")
        told = [self.account.user, self.account.host, self.account.role, self.create, len(sql)]
        return _MARK + json.dumps(told).encode() + b"\n" + sql + b";\n"


def listed(session: Session) -> list[Account]:
    """Return all accounts that are not the server's own."""
    if session.server.kind == "mariadb":
        rows = session.execute("SELECT User, Host, is_role = 'Y' FROM mysql.user ORDER BY 1, 2")
    else:
        rows = session.execute("SELECT User, Host, 0 FROM mysql.user ORDER BY 1, 2")
    return [Account(str(user), str(host), bool(role)) for user, host, role in rows if user not in _OWN]


def statements(session: Session) -> list[Statement]:
    """Ask the server how each account would be made again: all are created before anything is granted."""
    made: list[Statement] = []
    granted: list[Statement] = []
    if session.server.kind == "mysql":
        session.execute("SET SESSION print_identified_with_as_hex = ON")  # a hash may hold any byte
    for account in listed(session):
        if account.role:
            made.append(Statement(account, f"CREATE ROLE {account.name}", create=True))
        else:
            made.append(Statement(account, str(session.value(f"SHOW CREATE USER {account.name}")), create=True))
        for (line,) in session.execute(f"SHOW GRANTS FOR {account.name}"):
            granted.append(Statement(account, str(line)))
    # A user's default roles must be there before it; a role that is given away must be whole before.
    made.sort(key=lambda statement: (not statement.account.role, " DEFAULT ROLE `" in statement.sql))
    granted.sort(key=lambda statement: (statement.sql.startswith("SET DEFAULT ROLE"), not statement.account.role))
    return [*made, *granted]


class AccountsDump:
    """A dump of the accounts; see orchestrator.model.engine.Dump."""

    trailer = Trailer(MAGIC, FOOTER, len(FOOTER), len(MAGIC) + len(FOOTER))

    def __init__(self, fd: int, counts: Mapping[str, int], as_of: datetime) -> None:
        self.fd = fd
        self._end = DumpEnd(counts=counts, counts_exact=True, as_of=as_of)

    def finish(self) -> DumpEnd:
        """All of it was known before the first byte."""
        return self._end


@contextmanager
def dumping(target: Target) -> Iterator[AccountsDump]:
    """Give the accounts as a stream. Raises as `connect`."""
    as_of = datetime.now(UTC)
    with connect(target) as session:
        found = statements(session)
    text = MAGIC + b"".join(statement.text() for statement in found) + FOOTER
    counts = {statement.account.count: 1 for statement in found}
    with ExitStack() as stack:
        read, write = pipe()
        writer = threading.Thread(target=_write, args=(write, text), name="accounts", daemon=True)
        stack.callback(writer.join)
        stack.callback(os.close, read)
        writer.start()
        yield AccountsDump(read, counts, as_of)


def _write(fd: int, text: bytes) -> None:
    with suppress(BrokenPipeError), open(fd, "wb") as stream:
        stream.write(text)


def parse(script: bytes) -> list[Statement]:
    """Read a stored script back. Raises RestoreFailed."""
    if not script.startswith(MAGIC) or not script.endswith(FOOTER):
        raise RestoreFailed("the stored users and grants are not whole", "restore another point")
    found: list[Statement] = []
    place, end = len(MAGIC), len(script) - len(FOOTER)
    try:
        while place < end:
            line, begin = script[place : script.index(b"\n", place)], script.index(b"\n", place) + 1
            user, host, role, create, size = json.loads(line.removeprefix(_MARK))
            sql = script[begin : begin + size].decode("utf-8", "surrogateescape")
            found.append(Statement(Account(user, host, role), sql, create))
            place = begin + size + 2
    except (ValueError, TypeError) as error:
        raise RestoreFailed("the stored users and grants are not understood", "run them by hand") from error
    return found


def restore(item: Item, data: Data, to: str, at: Executor) -> Restored:
    """Add the accounts that are missing, with their grants. Raises RestoreFailed, DataDamaged."""
    stored = parse(read_whole(data, LIMIT, "the users and grants", "run them with a client yourself"))
    with administering(item.source, at) as session:
        there = set(listed(session))
        new = [statement for statement in stored if statement.account not in there]
        _create(session, [statement for statement in new if statement.create])
        notes = [note for statement in new if not statement.create for note in _grant(session, statement)]
    left = len({statement.account for statement in stored} & there)
    if left:
        notes.append(Finding("info", f"{left} users and roles exist already: they are left as they are"))
    return Restored(to, tuple(notes))


def _create(session: Session, wanted: Sequence[Statement]) -> None:
    done: list[Account] = []
    for statement in wanted:
        try:
            session.execute(statement.sql)
        except ResguardoError as error:
            text, hint = f"{statement.account.name} cannot be created: {error.message}", _CREATE_HINT
            if left := [account for account in done if not _dropped(session, account)]:
                names = ", ".join(account.name for account in left)
                text += f"; {names} had been created before, and could not be dropped again"
                hint += f"; drop {'them' if left[1:] else 'it'} before another attempt: it leaves alone whom it finds"
            raise RestoreFailed(text, hint) from error
        done.append(statement.account)


_CREATE_HINT = "the user needs CREATE USER and GRANT OPTION: set restore_user"


def _dropped(session: Session, account: Account) -> bool:
    """Whether an account that was just created could be dropped again."""
    try:
        session.execute(f"DROP {'ROLE' if account.role else 'USER'} {account.name}")
    except ResguardoError:
        return False
    return True


def _grant(session: Session, statement: Statement) -> Iterator[Finding]:
    try:
        session.execute(statement.sql)
    except ResguardoError as error:
        shown = "" if _SECRET.search(statement.sql) else f": {one_line(statement.sql)[:300]}"
        text = f"a grant of {statement.account.name} could not be brought back: {error.message}"
        yield Finding("warning", text, f"once what it is about is there, run it again{shown}")


def verify(item: Item, expected: Mapping[str, int], at: Executor) -> list[Finding]:
    """Every account that was there then is there now."""
    with administering(item.source, at) as session:
        present = {account.count for account in listed(session)}
    missing = sorted(name for name in expected if name.startswith(_COUNT) and name not in present)
    return [Finding("error", f"{name!r} did not come back", "see the server's log") for name in missing]
