"""Check a restored database: what it holds, and that its indexes are sound."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.engines._common import compare
from orchestrator.engines.postgresql import counts
from orchestrator.engines.postgresql.connection import Session, connect
from orchestrator.engines.postgresql.quoting import ident
from orchestrator.engines.postgresql.restore import UNFINISHED
from orchestrator.engines.postgresql.target import target_of
from orchestrator.model.engine import Item
from orchestrator.model.errors import Interrupted, ResguardoError
from orchestrator.model.execution import Executor, Finding

MOST = 20  # findings of one kind; more help nobody

_INVALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid OR NOT indisready ORDER BY 1"
_BTREES = """
SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_am a ON a.oid = c.relam JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 2
"""
_AMCHECK = """
SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
  AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'amcheck'),
  (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck')
"""
_SCRATCH = "resguardo_amcheck"


def verify(item: Item, to: str, expected: Mapping[str, int], at: Executor) -> list[Finding]:
    """See orchestrator.model.engine.Engine; nothing is changed: what the checks need is rolled back."""
    limit = item.source.timeout
    try:
        with connect(target_of(item.source, at, "restore"), to) as session:
            return [
                *_unfinished(session, to),
                *_compare(session, to, expected, limit),
                *_invalid(session, to),
                *_structure(session, to, limit),
            ]
    except Interrupted:
        raise
    except ResguardoError as error:
        return [Finding("error", f"database {to!r} cannot be checked: {error.message}", error.hint)]


def _unfinished(session: Session, to: str) -> list[Finding]:
    query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    if session.value(query) != UNFINISHED:
        return []
    return [
        Finding("error", f"the restore of {to!r} did not come to its end", f"DROP DATABASE {ident(to)}, restore again")
    ]


def _compare(session: Session, to: str, expected: Mapping[str, int], limit: float) -> list[Finding]:
    if not expected:
        return [Finding("info", f"no counts were stored for {to!r}: its rows are not compared")]
    rows_too = any(not key.startswith("#") for key in expected) or not expected.get("#tables")
    session.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    found = counts.inventory(session) | (counts.rows(session, limit) if rows_too else {})
    session.execute("COMMIT")
    return list(compare(found, expected, to)[:MOST])


def _invalid(session: Session, to: str) -> list[Finding]:
    names = [str(name) for (name,) in session.execute(_INVALID)]
    return [Finding("error", f"{to!r}: index {name} is not valid", f"REINDEX INDEX {name}") for name in names[:MOST]]


def _structure(session: Session, to: str, limit: float) -> list[Finding]:
    """Check every B-tree against its table (amcheck); as a superuser only, on a server that has it."""
    may, schema = session.execute(_AMCHECK)[0]
    if not may:
        text = f"{to!r}: indexes were not checked against their tables"
        return [Finding("info", text, "that needs a superuser and the extension amcheck")]
    session.execute("BEGIN")
    try:
        if schema is None:
            session.execute(f"CREATE SCHEMA {_SCRATCH}; CREATE EXTENSION amcheck SCHEMA {_SCRATCH}")
        return _check_trees(session, to, schema or _SCRATCH, limit)
    finally:
        session.execute("ROLLBACK")


def _check_trees(session: Session, to: str, schema: str, limit: float) -> list[Finding]:
    findings: list[Finding] = []
    check = f"SELECT {ident(schema)}.bt_index_check(index => %s::bigint::oid, heapallindexed => true)"
    for oid, name in session.execute(_BTREES):
        session.execute("SAVEPOINT one")
        try:
            session.execute(check, [oid], limit=limit)
        except Interrupted:
            raise
        except ResguardoError as error:
            session.execute("ROLLBACK TO SAVEPOINT one")
            findings.append(Finding("error", f"{to!r}: index {name}: {error.message}", f"REINDEX INDEX {name}"))
        if len(findings) >= MOST:
            break
    return findings
