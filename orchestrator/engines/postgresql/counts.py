"""What a database holds, as numbers: rows per table, and how many objects of each kind."""

from __future__ import annotations

from collections.abc import Collection

from orchestrator.engines.postgresql.connection import Session

LARGE = "#large objects"
_TABLES_AT_ONCE = 25  # few round trips, yet an error or a lock concerns few tables

# Objects that pg_dump writes: not the system's, not temporary, not those that an extension brings along.
OURS = """
WITH ns AS MATERIALIZED (
  SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
member AS MATERIALIZED (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
rel AS MATERIALIZED (
  SELECT c.oid, c.relname, ns.nspname, c.relkind, c.relnamespace FROM pg_class c JOIN ns ON ns.oid = c.relnamespace
  WHERE c.relpersistence <> 't' AND NOT EXISTS (
    SELECT FROM member m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid))
"""
TABLES = f"{OURS} SELECT format('%I.%I', nspname, relname) FROM rel WHERE relkind = 'r' ORDER BY 1"  # noqa: S608 - constant

# Invalid indexes are left out: pg_dump does not write them. Materialized views are objects here and not rows: a restore
# refreshes them, so their rows may rightly differ from a stale original's.
_INVENTORY = f"""{OURS}
SELECT '#' || kind, count(*) FROM (
  SELECT CASE relkind WHEN 'r' THEN 'tables' WHEN 'p' THEN 'partitioned tables' WHEN 'v' THEN 'views'
    WHEN 'm' THEN 'materialized views' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'foreign tables' END AS kind
  FROM rel WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL SELECT 'indexes' FROM pg_index i JOIN rel ON rel.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indisvalid OR c.relkind = 'I'
  UNION ALL SELECT CASE WHEN con.convalidated THEN 'constraints' ELSE 'constraints not validated' END
    FROM pg_constraint con JOIN rel ON rel.oid = con.conrelid WHERE con.contype IN ('c', 'f', 'p', 'u', 'x')
  UNION ALL SELECT 'triggers' FROM pg_trigger t JOIN rel ON rel.oid = t.tgrelid WHERE NOT t.tgisinternal
  UNION ALL SELECT 'policies' FROM pg_policy p JOIN rel ON rel.oid = p.polrelid
  UNION ALL SELECT 'functions' FROM pg_proc p JOIN ns ON ns.oid = p.pronamespace
    WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
  UNION ALL SELECT 'types' FROM pg_type t JOIN ns ON ns.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE (t.typtype IN ('d', 'e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c'))
    AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
  UNION ALL SELECT 'schemas' FROM ns
    WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = ns.oid)
  UNION ALL SELECT 'extensions' FROM pg_extension UNION ALL SELECT 'extension ' || extname FROM pg_extension
  UNION ALL SELECT 'event triggers' FROM pg_event_trigger
  UNION ALL SELECT 'publications' FROM pg_publication
  UNION ALL SELECT 'large objects' FROM pg_largeobject_metadata
) found GROUP BY kind
"""  # noqa: S608 - constant


def inventory(session: Session) -> dict[str, int]:
    """Return `#kind` → number of objects, only for kinds that occur, and `extension NAME` → 1 for each."""
    return {str(kind): int(count) for kind, count in session.execute(_INVENTORY)}


def rows(session: Session, limit: float, without: Collection[str] = ()) -> dict[str, int]:
    """Return `schema.table` (quoted where SQL needs it) → exact number of rows; 0 for those tables in `without`.

    Partitions are counted each by itself, their parents hold none; foreign tables are elsewhere and not dumped.
    `limit`: seconds for a batch of tables.
    """
    tables = [str(name) for (name,) in session.execute(TABLES)]
    counts = dict.fromkeys(tables, 0)
    for names in batches([name for name in tables if name not in without], _TABLES_AT_ONCE):
        query = " UNION ALL ".join(f"SELECT {number}, count(*) FROM ONLY {name}" for number, name in enumerate(names))  # noqa: S608 - names come quoted from format('%I')
        counts |= {names[number]: int(count) for number, count in session.execute(query, limit=limit)}
    return counts


def batches(names: list[str], size: int) -> list[list[str]]:
    """Cut a list into pieces."""
    return [names[begin : begin + size] for begin in range(0, len(names), size)]
