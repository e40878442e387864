"""Which tables' rows are dumped. Definitions always come whole: what is dumped can then always be restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.engines._databases import matches
from orchestrator.engines.postgresql import counts
from orchestrator.engines.postgresql.connection import Session
from orchestrator.engines.postgresql.options import Options
from orchestrator.model.errors import Precondition

# A table's names are its own and those of the partitioned tables above it: these hold no rows themselves.
_TABLES = f"""{counts.OURS}
SELECT format('%I.%I', nspname, relname), ARRAY[nspname || '.' || relname, relname]::text[] || coalesce((
  SELECT array_agg(n.nspname || '.' || c.relname) || array_agg(c.relname::text)
  FROM pg_partition_ancestors(rel.oid) a JOIN pg_class c ON c.oid = a.relid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE a.relid <> rel.oid), '{{}}')
FROM rel WHERE relkind = 'r' ORDER BY 1
"""  # noqa: S608 - constant
_OLD_TABLES = f"""{counts.OURS}
SELECT format('%I.%I', nspname, relname), ARRAY[nspname || '.' || relname, relname]::text[]
FROM rel WHERE relkind = 'r' ORDER BY 1
"""  # noqa: S608 - constant
_REFERENCES = """
SELECT k.conname, format('%I.%I', fn.nspname, f.relname), format('%I.%I', tn.nspname, t.relname) FROM pg_constraint k
JOIN pg_class f ON f.oid = k.conrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
JOIN pg_class t ON t.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE k.contype = 'f' AND k.convalidated ORDER BY 2, 1
"""
_PARTITIONS = 120000  # the version that brought pg_partition_ancestors


@dataclass(frozen=True)
class Selection:
    """What of one database is dumped. without: tables whose rows are left out, as SQL writes them · large: large
    objects come too.
    """

    without: frozenset[str] = frozenset()
    large: bool = True

    def arguments(self, content: str) -> list[str]:
        """Return pg_dump's options."""
        if content != "all":
            only = ["--schema-only" if content == "schema" else "--data-only"]
            return only + self._excluded() if content == "data" else only
        return self._excluded()

    def _excluded(self) -> list[str]:
        # A quoted name is a pattern that means nothing but itself.
        return [f"--exclude-table-data={name}" for name in sorted(self.without)]


def select(session: Session, database: str, options: Options) -> Selection:
    """Look which tables the options choose.

    Raises Precondition: a pattern that no table matches, or a choice whose foreign keys could not be restored.
    """
    if options.content == "schema":
        return Selection(frozenset(str(name) for (name,) in session.execute(counts.TABLES)), large=False)
    if not (options.tables or options.exclude_tables):
        return Selection()
    query = _TABLES if session.version >= _PARTITIONS else _OLD_TABLES
    found = {str(name): list(map(str, names)) for name, names in session.execute(query)}
    for pattern in (*options.tables, *options.exclude_tables):
        if not any(matches(pattern, name) for names in found.values() for name in names):
            raise Precondition(
                f"database {database!r}: no table matches {pattern!r}",
                r"correct it: \dt *.* in psql shows the tables; a pattern is SCHEMA.TABLE or TABLE, with * and ?",
            )
    without = frozenset(name for name, names in found.items() if not _chosen(names, options))
    _refuse_torn(session, database, without, set(found), options)
    return Selection(without)


def _chosen(names: Sequence[str], options: Options) -> bool:
    def met(patterns: Sequence[str]) -> bool:
        return any(matches(pattern, name) for pattern in patterns for name in names)

    return (not options.tables or met(options.tables)) and not met(options.exclude_tables)


def _refuse_torn(session: Session, database: str, without: frozenset[str], known: set[str], options: Options) -> None:
    """Refuse rows that refer to rows which are left out: their foreign key cannot be made in a restore."""
    if options.content != "all":
        return
    for key, table, other in _torn(session, without, known):
        raise Precondition(
            f"database {database!r}: rows of {table} refer to {other} by {key}, and its rows are left out: "
            "they could not be restored",
            f"take the rows of {other} too, or leave out those of {table}",
        )


def _torn(session: Session, without: frozenset[str], known: set[str]) -> Iterator[tuple[str, str, str]]:
    for key, table, other in session.execute(_REFERENCES):
        if other in without and table in known and table not in without:
            yield str(key), str(table), str(other)
