"""The globals: roles, their memberships and settings, as pg_dumpall writes them.

A restore only adds what is missing. Roles that exist are left as they are, since a restore (or a drill) on a living
server must never bring a revoked right or an old password back; where they differ it is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.engines._incoming import read_whole
from orchestrator.engines.postgresql.connection import Session, maintenance
from orchestrator.engines.postgresql.properties import together
from orchestrator.model.engine import Data, Item, Restored
from orchestrator.model.errors import ResguardoError, RestoreFailed
from orchestrator.model.execution import Executor, Finding

LIMIT = 64 << 20  # bytes of globals that are read into memory
_COUNT = "role "
_TOKEN = re.compile(
    r"""--[^\n]*                         # a comment
    | ^\\(?:un)?restrict[^\n]*           # psql's own, at the beginning of a line
    | [eE]'(?:[^'\\]|\\.|'')*'           # a text with escapes
    | '(?:[^']|'')*' | "(?:[^"]|"")*"    # a text, a name
    | ;
    | [^'";\\eE-]+ | .                   # the rest
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_NAME = r'("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)'
_CREATE = re.compile(rf"CREATE ROLE {_NAME}$")
_ALTER = re.compile(rf"(?:ALTER ROLE|COMMENT ON ROLE) {_NAME} ")
_GRANT = re.compile(rf"GRANT {_NAME} TO {_NAME}(?: |$)")
_SET = re.compile(r"SET [a-z_]+ = ")


def counts(session: Session) -> dict[str, int]:
    """Return `role NAME` → 1 for every role that is not the server's own."""
    rows = session.execute("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'")
    return {f"{_COUNT}{name}": 1 for (name,) in rows}


def statements(script: str) -> Iterator[str]:
    """Cut a script into statements, without comments and psql's own commands."""
    parts: list[str] = []
    for match in _TOKEN.finditer(script):
        word = match[0]
        if word == ";":
            yield "".join(parts).strip()
            parts.clear()
        elif not word.startswith(("--", "\\")):
            parts.append(word)


@dataclass(frozen=True)
class RolePlan:
    """What of a script is to be run, and what is left out, with its reason."""

    run: tuple[str, ...]
    findings: tuple[Finding, ...]


def unquoted(name: str) -> str:
    """Return an identifier's own text."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def plan(script: str, existing: Sequence[str], members: Sequence[tuple[str, str]]) -> RolePlan:
    """Decide what to run. existing: roles of the server · members: its memberships as (role, member)."""
    run: list[str] = []
    findings: list[Finding] = []
    new: set[str] = set()
    for statement in statements(script):
        if match := _CREATE.match(statement):
            role = unquoted(match[1])
            if role not in existing:
                new.add(role)
                run.append(statement)
        elif match := _ALTER.match(statement):
            if unquoted(match[1]) in new:
                run.append(statement)
        elif match := _GRANT.match(statement):
            role, member = unquoted(match[1]), unquoted(match[2])
            if new & {role, member}:
                run.append(statement)
            elif (role, member) not in members:
                findings.append(_left(f"role {member!r} is not in {role!r} as it was then", statement))
        elif not _SET.match(statement):
            findings.append(_left(f"not brought back: {statement.split(' LOCATION ')[0][:120]!r}", statement))
    return RolePlan(tuple(run), tuple(findings))


def _left(text: str, statement: str) -> Finding:
    shown = " ".join(statement.split())
    return Finding("info", text, f"if that is wanted, run: {shown}" if len(shown) < 500 else None)


def restore_globals(item: Item, data: Data, to: str, at: Executor) -> Restored:
    """Add the roles that are missing, in one transaction. Raises RestoreFailed, DataDamaged."""
    script = read_whole(data, LIMIT, "the globals", "run them with psql yourself")
    with maintenance(item.source, at) as session:
        planned = _planned(session, script.decode("utf-8", "surrogateescape"))
        try:
            together(session, planned.run)
        except ResguardoError as error:
            raise RestoreFailed(f"the roles cannot be created: {error.message}", _ROLES_HINT) from error
    return Restored(to, planned.findings)


_ROLES_HINT = "the role needs CREATEROLE, or be a superuser: set restore_user"


def _planned(session: Session, script: str) -> RolePlan:
    existing = [str(name) for (name,) in session.execute("SELECT rolname FROM pg_roles")]
    query = (
        "SELECT g.rolname, m.rolname FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid "
        "JOIN pg_roles m ON m.oid = a.member"
    )
    members = [(str(role), str(member)) for role, member in session.execute(query)]
    return plan(script, existing, members)


def verify_globals(item: Item, expected: Mapping[str, int], at: Executor) -> list[Finding]:
    """Every role that was there then is there now."""
    with maintenance(item.source, at) as session:
        present = counts(session)
    missing = sorted(key for key in expected if key.startswith(_COUNT) and key not in present)
    return [Finding("error", f"{key!r} did not come back", "see the server's log") for key in missing]
