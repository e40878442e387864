"""Look at a server: its databases, their sizes, and whether our role may read all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.engines._databases import ALL
from orchestrator.engines.postgresql import configuration, locks
from orchestrator.engines.postgresql.connection import Session, connect
from orchestrator.engines.postgresql.options import Options
from orchestrator.engines.postgresql.quoting import ident
from orchestrator.engines.postgresql.restore import DATA_ONLY
from orchestrator.engines.postgresql.selection import select
from orchestrator.engines.postgresql.target import Target, target_of
from orchestrator.engines.postgresql.tools import Tools, choose
from orchestrator.model.engine import Facts, Item, Source
from orchestrator.model.errors import Precondition, RightsMissing
from orchestrator.model.execution import Executor, Finding, Undo

GLOBALS_ITEM = "globals"
_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname"
_EXTENSION = {"plain": "sql", "custom": "pgdump"}
_SMALL = 65536  # bytes of an empty dump, generously

# Everything that pg_dump reads: it locks every table and reads every sequence, also empty ones.
_RIGHTS = """
WITH rel AS MATERIALIZED (
  SELECT c.oid, c.relname, n.nspname, n.oid AS ns, c.relkind, c.relrowsecurity
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'S')
    AND c.relpersistence <> 't'
    AND NOT EXISTS (
      SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
SELECT
  (SELECT array_agg(format('%I.%I', nspname, relname) ORDER BY 1) FROM rel
   WHERE NOT has_schema_privilege(ns, 'USAGE')
   OR NOT CASE relkind WHEN 'S' THEN has_sequence_privilege(oid, 'SELECT') ELSE has_table_privilege(oid, 'SELECT') END),
  (SELECT array_agg(format('%I.%I', nspname, relname) ORDER BY 1) FROM rel
   WHERE relrowsecurity AND row_security_active(oid)),
  (SELECT count(*) FROM pg_largeobject_metadata m WHERE NOT pg_has_role(m.lomowner, 'USAGE') AND NOT EXISTS (
     SELECT FROM aclexplode(m.lomacl) a
     WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))),
  (SELECT count(*) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()),
  (SELECT coalesce(sum(pg_table_size(oid)), 0) FROM rel WHERE relkind = 'r') + 2 * pg_table_size('pg_largeobject'),
  (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
  (SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user)
"""
_SUBSCRIPTIONS_HIDDEN = "(SELECT count(*) FROM pg_subscription s"


_LEFT_OUT = "SELECT coalesce(sum(pg_table_size(name::regclass)), 0) FROM unnest(%s::text[]) name"
_CLOSER = 32 << 20  # bytes of a database, indexes and all, from which its tables themselves are looked at
_OUTSIDE = """
SELECT d.datname, pg_database_size(d.oid) - coalesce((SELECT pg_database_size(t.oid) FROM pg_database t
  WHERE t.datname = 'template0'), 0), (SELECT count(*) FROM pg_subscription s WHERE s.subdbid = d.oid)
FROM pg_database d WHERE d.datname = ANY(%s)
"""


@dataclass(frozen=True)
class Look:
    """What one database showed. unreadable, hidden: tables without SELECT, and behind row-level security ·
    creates: the role may create databases.
    """

    unreadable: Sequence[str]
    hidden: Sequence[str]
    large_objects: int
    subscriptions: int
    bytes: int
    superuser: bool
    creates: bool = True


def probe(source: Source, at: Executor, undo: Undo) -> Facts:
    """See orchestrator.model.engine.Engine."""
    options: Options = source.options
    target = target_of(source, at)
    first = options.maintenance if options.database == ALL or options.configuration else options.database
    with connect(target, first) as session:
        version, text = session.version, session.version_text
        tools = choose(at, undo, version, options.tools)
        names = _names(session, options)
        unread = configuration.missing_rights(session) if options.configuration else None
        looks = _from_outside(session, names, options)
        if first in names and first not in looks:
            looks[first] = _look(session, first, options)
    for name in names:
        if name not in looks:
            with connect(target, name) as session:
                looks[name] = _look(session, name, options)
    findings = [finding for name in names for finding in judge(name, looks[name], target, version)]
    return Facts(
        _items(source, looks, names, configured=options.configuration and unread is None),
        f"PostgreSQL {text}",
        f"pg_dump {tools.version}",
        (
            *findings,
            *([unread] if unread else []),
            *_of_tools(tools, version),
            *_of_restoring(options, target.params["user"], looks),
        ),
    )


def _names(session: Session, options: Options) -> list[str]:
    if options.database != ALL:
        return [options.database]
    names = [str(name) for (name,) in session.execute(_DATABASES)]
    options.assert_matched(names)
    wanted = [name for name in names if options.wants(name)]
    if not wanted:
        raise Precondition(f"exclude leaves none of {len(names)} databases", "correct exclude, or disable the source")
    return wanted


def _from_outside(session: Session, names: Sequence[str], options: Options) -> dict[str, Look]:
    """Look at small databases without a session in each: a superuser's rights are known, and they may be many."""
    if options.tables or options.exclude_tables or not session.superuser:
        return {}
    rows = options.content != "schema"
    return {
        str(name): Look((), (), 0, int(subscriptions), max(0, int(size)) * rows, superuser=True)
        for name, size, subscriptions in session.execute(_OUTSIDE, [list(names)])
        if size <= _CLOSER
    }


def _look(session: Session, name: str, options: Options) -> Look:
    # Only superusers may read pg_subscription before version 16; others are told by pg_dump's own warning.
    allowed = session.value("SELECT has_table_privilege('pg_catalog.pg_subscription', 'SELECT')")
    query = _RIGHTS
    if not allowed:
        line = next(line for line in _RIGHTS.splitlines() if _SUBSCRIPTIONS_HIDDEN in line)
        query = _RIGHTS.replace(line, "  0,")
    # A table's size is told only once its lock is had.
    wait = locks.limit(session, options.lock_timeout)
    with locks.told(session, name, options.lock_timeout):
        unreadable, hidden, large, subscriptions, size, *roles = session.execute(query, limit=wait)[0]
        without = select(session, name, options).without
        left = int(session.value(_LEFT_OUT, [sorted(without)], limit=wait)) if without else 0
    size = 0 if options.content == "schema" else int(size) - left
    return Look(unreadable or (), hidden or (), int(large), int(subscriptions), size, *map(bool, roles))


def judge(name: str, look: Look, target: Target, version: int) -> Iterator[Finding]:
    """Say what a look means. Raises RightsMissing when the dump would fail, or worse, lack rows."""
    role = ident(target.params["user"])
    if look.unreadable:
        grant = f"GRANT pg_read_all_data TO {role}"
        if version < 140000:
            grant = f"GRANT USAGE ON SCHEMA … and SELECT ON ALL TABLES and SEQUENCES IN SCHEMA … TO {role}"
        raise RightsMissing(
            f"database {name!r}: the role may not read {len(look.unreadable)} tables or sequences, "
            f"such as {look.unreadable[0]}",
            grant,
        )
    if look.hidden:
        raise RightsMissing(
            f"database {name!r}: row-level security hides rows of {len(look.hidden)} tables, such as {look.hidden[0]}",
            f"ALTER ROLE {role} BYPASSRLS",
        )
    if look.large_objects and version < 190000:
        raise RightsMissing(
            f"database {name!r}: the role may not read {look.large_objects} large objects",
            f"back up as a superuser or their owner, or for each GRANT SELECT ON LARGE OBJECT … TO {role}",
        )
    if look.subscriptions:
        text = f"database {name!r} has {look.subscriptions} subscriptions: they come back disabled"
        hint = "after a restore ALTER SUBSCRIPTION … ENABLE, once the publisher is right"
        yield Finding("warning", text, hint)


def _of_tools(tools: Tools, version: int) -> list[Finding]:
    if tools.major == version // 10000:
        return []
    text = f"pg_dump {tools.version} is newer than the server, PostgreSQL {version // 10000}"
    hint = f"install postgresql-client-{version // 10000}: a server may not understand what a newer pg_dump writes"
    return [Finding("info", text, hint)]


def _of_restoring(options: Options, user: str, looks: dict[str, Look]) -> list[Finding]:
    """Say before the bad day what a restore will lack."""
    if options.content == "data":
        text = "content: data holds rows alone: only psql restores them, into tables that are there"
        return [Finding("info", text, "docs/databases/postgresql.md says how")]
    if not options.restore_user:
        if all(look.creates for look in looks.values()):
            return []
        text = f"restoring needs restore_user: {user} may not create databases"
        return [Finding("info", text, "docs/databases/postgresql.md says how to make that role")]
    if options.restore_password or not options.password:
        return []
    text = f"restore_user {options.restore_user} has no restore_password: `password` is that of {user}"
    return [Finding("info", text, "set restore_password, unless the server or ~/.pgpass lets that role in without")]


def _items(source: Source, looks: dict[str, Look], names: Sequence[str], *, configured: bool) -> tuple[Item, ...]:
    options: Options = source.options
    extension = (DATA_ONLY if options.content == "data" else "") + _EXTENSION[options.format]
    items = [Item(source, name, extension, looks[name].bytes + _SMALL) for name in names]
    if options.globals:
        items.insert(0, Item(source, beside(GLOBALS_ITEM, names), "sql", _SMALL, role="globals"))
    if configured:
        name = beside(configuration.ITEM, names)
        items.insert(0, Item(source, name, configuration.EXTENSION, _SMALL, role="globals"))
    return tuple(items)


def beside(name: str, databases: Sequence[str]) -> str:
    """Return an item name that is not that of a database, which may bear any name."""
    while name in databases:
        name += "+"
    return name
