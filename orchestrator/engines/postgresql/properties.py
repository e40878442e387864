"""What belongs to a database itself and is in no dump made without --create: encoding, locale, owner, settings …

A plain dump begins with a few comment lines of ours that hold it; psql ignores them. A custom dump holds pg_dump's own
CREATE DATABASE statement near its beginning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.engines.postgresql.connection import Session
from orchestrator.engines.postgresql.quoting import ident, literal
from orchestrator.model.errors import ResguardoError
from orchestrator.model.execution import Finding

MAGIC = b"-- Resguardo: a PostgreSQL database, format 1\n"
ADVICE = (
    b"-- By hand: make an empty database of the encoding, locale and owner below, from template0, then run\n"
    b"-- psql -X -v ON_ERROR_STOP=1 --single-transaction -f THIS_FILE -d NEW_DATABASE; see that the file is whole:\n"
    b"-- it ends with a line 'PostgreSQL database dump complete'.\n"
)
_KEY = b"-- database: "
CREATE_LIMIT = 600.0  # seconds: a checkpoint or a copy of template0 may be waited for
LIMIT = 60_000  # bytes of the header: it must fit into a pipe before anybody reads

_QUERY = """
SELECT to_jsonb(d) || jsonb_build_object('encoding', pg_encoding_to_char(d.encoding),
  'owner', pg_get_userbyid(d.datdba), 'tablespace', t.spcname, 'comment', shobj_description(d.oid, 'pg_database'),
  'acl', (SELECT jsonb_agg(jsonb_build_array(CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END,
      a.privilege_type, a.is_grantable) ORDER BY a.grantee, a.privilege_type) FROM aclexplode(d.datacl) a),
  'settings', (SELECT jsonb_agg(jsonb_build_array(r.rolname, s.setconfig) ORDER BY r.rolname)
      FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = d.oid))
FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = current_database()
"""
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


@dataclass(frozen=True)
class Properties:
    """A database's own attributes. provider: c|i|b as in pg_database · acl: [grantee or None for PUBLIC, privilege,
    grantable], None when it is the default · settings: [role or None, ["name=value"]] · limit: connections, -1 for any.
    """

    encoding: str
    collate: str
    ctype: str
    provider: str = "c"
    locale: str | None = None
    rules: str | None = None
    owner: str = ""
    tablespace: str = "pg_default"
    limit: int = -1
    template: bool = False
    comment: str | None = None
    acl: list[list[Any]] | None = None
    settings: list[list[Any]] | None = field(default=None)

    def header(self) -> bytes:
        """Return the comment lines that precede a plain dump; over the limit it lacks grants and settings."""
        body = {key: value for key, value in asdict(self).items() if value is not None}
        line = json.dumps(body, sort_keys=True).encode("ascii")
        if len(line) > LIMIT - len(MAGIC) - len(ADVICE) - len(_KEY) - 1:
            line = json.dumps(body | {"acl": None, "settings": None, "comment": None}, sort_keys=True).encode("ascii")
        return MAGIC + ADVICE + _KEY + line + b"\n"

    @property
    def fits(self) -> bool:
        """Whether the header holds everything."""
        return parse(self.header()) == self


def read(session: Session) -> Properties:
    """Read those of the session's database."""
    row: Mapping[str, Any] = session.value(_QUERY)
    return Properties(
        encoding=row["encoding"],
        collate=row["datcollate"],
        ctype=row["datctype"],
        provider=row.get("datlocprovider") or "c",
        locale=row.get("datlocale") or row.get("daticulocale"),
        rules=row.get("daticurules"),
        owner=row["owner"],
        tablespace=row["tablespace"],
        limit=row["datconnlimit"],
        template=row["datistemplate"],
        comment=row["comment"],
        acl=row["acl"],
        settings=row["settings"],
    )


def parse(head: bytes) -> Properties | None:
    """Read a plain dump's header; None when there is none (a dump of another make)."""
    if not complete(head):
        return None
    line = head[head.index(_KEY) + len(_KEY) :].split(b"\n", 1)[0]
    try:
        return Properties(**json.loads(line))
    except (ValueError, TypeError):
        return None


def complete(head: bytes) -> bool:
    """Whether the header's end has been read."""
    at = head.find(_KEY)
    return head.startswith(MAGIC) and at >= 0 and b"\n" in head[at:]


def create(session: Session, name: str, properties: Properties | None) -> None:
    """Create the database, empty. Owner and settings follow after the data: they could hinder the loading."""
    statement = f"CREATE DATABASE {ident(name)} TEMPLATE template0"
    if properties is not None:
        statement += _attributes(properties, session.version)
        spaces = {str(space) for (space,) in session.execute("SELECT spcname FROM pg_tablespace")}
        if properties.tablespace in spaces - {"pg_default"}:
            statement += f" TABLESPACE {ident(properties.tablespace)}"
    session.execute(statement, limit=CREATE_LIMIT)


def _attributes(properties: Properties, version: int) -> str:
    words = [("ENCODING", properties.encoding), ("LC_COLLATE", properties.collate), ("LC_CTYPE", properties.ctype)]
    if version >= 150000:
        words.append(("LOCALE_PROVIDER", _PROVIDERS[properties.provider]))
    if properties.locale:
        words.append(("BUILTIN_LOCALE" if properties.provider == "b" else "ICU_LOCALE", properties.locale))
    if properties.rules:
        words.append(("ICU_RULES", properties.rules))
    return "".join(f" {key} {literal(value)}" for key, value in words)


# pg_dump's statement as it stands in an archive; only options that are a word, a number or a quoted text.
_ARCHIVED = re.compile(
    rb"""CREATE[ ]DATABASE[ ](?:"(?:[^"]|"")*"|[a-z_][a-z_0-9]*)(?P<rest>[ ]WITH[ ]TEMPLATE[ ]=[ ]template0
    (?:[ ][A-Z_]+[ ]=[ ](?:'(?:[^']|'')*'|"(?:[^"]|"")*"|[a-z_0-9]+))*);\n""",
    re.VERBOSE,
)


def archived(head: bytes) -> bytes | None:
    """Return the options of a custom dump's CREATE DATABASE statement; None when `head` does not hold it whole."""
    match = _ARCHIVED.search(head)
    return match["rest"] if match else None


def create_archived(session: Session, name: str, options: bytes) -> None:
    """Create the database as a custom dump says."""
    session.execute(f"CREATE DATABASE {ident(name)}".encode() + options, limit=CREATE_LIMIT)


ROLES_HINT = "restore once more with --globals, which creates the roles that are missing, or create them yourself"


def apply(session: Session, name: str, properties: Properties) -> list[Finding]:
    """Give a loaded database its owner, comment, limit, grants and settings; what the server refuses is a finding."""
    findings = []
    for what, statements in _finishing(name, properties):
        try:
            together(session, statements)
        except ResguardoError as error:
            # undefined_object: the only thing that these statements name and that may be missing is a role.
            missing = getattr(error.__cause__, "sqlstate", None) == "42704" and "role" in error.message
            hint = ROLES_HINT if missing else error.hint
            findings.append(Finding("warning", f"{what} of {name!r} did not come back: {error.message}", hint))
    return findings


def together(session: Session, statements: Sequence[str]) -> None:
    """Run statements in one transaction."""
    session.execute("BEGIN")
    try:
        for statement in statements:
            session.execute(statement)
        session.execute("COMMIT")
    except ResguardoError:
        with suppress(ResguardoError):  # a lost session cannot, and the server does it by itself
            session.execute("ROLLBACK")
        raise


def _finishing(name: str, properties: Properties) -> list[tuple[str, list[str]]]:
    database = f"DATABASE {ident(name)}"
    steps: list[tuple[str, list[str]]] = []
    if properties.comment is not None:
        steps.append(("the comment", [f"COMMENT ON {database} IS {literal(properties.comment)}"]))
    if properties.owner:
        steps.append(("the owner", [f"ALTER {database} OWNER TO {ident(properties.owner)}"]))
    if properties.acl is not None:
        steps.append(("the grants", _grants(database, properties.acl)))
    for role, texts in properties.settings or []:
        steps += [(f"setting {text.partition('=')[0]}", _setting(database, role, text)) for text in texts]
    if properties.limit != -1:
        steps.append(("the connection limit", [f"ALTER {database} CONNECTION LIMIT {int(properties.limit)}"]))
    if properties.template:
        steps.append(("the template mark", [f"ALTER {database} IS_TEMPLATE true"]))
    return steps


def _grants(database: str, acl: list[list[Any]]) -> list[str]:
    statements = [f"REVOKE ALL ON {database} FROM PUBLIC"]
    for grantee, privilege, grantable in acl:
        to = "PUBLIC" if grantee is None else ident(grantee)
        if privilege in {"CREATE", "CONNECT", "TEMPORARY"}:
            statements.append(f"GRANT {privilege} ON {database} TO {to}{' WITH GRANT OPTION' if grantable else ''}")
    return statements


def _setting(database: str, role: str | None, text: str) -> list[str]:
    # FROM CURRENT takes the value as the server stores it: lists such as search_path cannot be written as one literal.
    key, _, value = text.partition("=")
    whom = database if role is None else f"ROLE {ident(role)} IN {database}"
    name = ident(*key.split("."))
    return [f"SELECT set_config({literal(key)}, {literal(value)}, true)", f"ALTER {whom} SET {name} FROM CURRENT"]
