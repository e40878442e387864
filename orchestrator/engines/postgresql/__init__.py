"""PostgreSQL: databases dumped by pg_dump, counted inside the dump's own snapshot, restored under a new name.

options.py what can be set · target.py where the server is · connection.py sessions that cannot hang · tools.py the
client programs · probe.py · dump.py · selection.py whose rows · counts.py · upkeep.py what runs before ·
properties.py the database itself (encoding, owner …) · restore.py · roles.py the globals · configuration.py the
server's files · verify.py · swap.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

from orchestrator.engines.postgresql import configuration
from orchestrator.engines.postgresql.dump import dump
from orchestrator.engines.postgresql.options import Options
from orchestrator.engines.postgresql.probe import probe
from orchestrator.engines.postgresql.restore import restore
from orchestrator.engines.postgresql.roles import restore_globals, verify_globals
from orchestrator.engines.postgresql.swap import original, swap
from orchestrator.engines.postgresql.verify import verify
from orchestrator.model.engine import Data, Dump, Facts, Item, Kept, Original, PathSet, Restored, Source
from orchestrator.model.errors import Bug
from orchestrator.model.execution import Executor, Finding, Undo


class PostgresqlEngine:
    """The engine `postgresql`; see orchestrator.model.engine.Engine for the contract."""

    name = "postgresql"
    Options: type[Any] = Options
    delivers: Literal["stream", "paths"] = "stream"
    places: Literal["path", "server"] = "server"

    def originals(self, source: Source) -> Mapping[str, str]:
        """Items bear the names of their databases."""
        del source
        return {}

    def original(self, item: Item, at: Executor) -> Original:
        """Whether the database is there, as far as the server answers."""
        return Original() if item.role == "globals" else original(item, at)

    def probe(self, source: Source, at: Executor, undo: Undo) -> Facts:
        """Look at the server, its databases and our rights in them."""
        return probe(source, at, undo)

    def dump(self, item: Item, at: Executor, undo: Undo) -> AbstractContextManager[Dump]:
        """Start pg_dump (or pg_dumpall for the globals)."""
        return dump(item, at, undo)

    def paths(self, item: Item) -> PathSet:
        """Never called: this engine delivers streams."""
        raise Bug(f"postgresql item {item.name!r} has no paths")

    def restore(self, item: Item, data: Data, to: str, at: Executor, undo: Undo) -> Restored:
        """Restore into the new database `to`; the globals add the roles that are missing."""
        if item.role == "globals":
            return (configuration.restore if _is_configuration(item) else restore_globals)(item, data, to, at)
        return restore(item, data, to, at, undo)

    def verify(self, item: Item, to: str, expected: Mapping[str, int], at: Executor, undo: Undo) -> Sequence[Finding]:
        """Compare counts and inventory, check indexes."""
        del undo
        if _is_configuration(item):
            return ()  # the living files may rightly be others
        return verify_globals(item, expected, at) if item.role == "globals" else verify(item, to, expected, at)

    def swap(self, item: Item, to: str, kept: str, at: Executor, undo: Undo) -> Kept:
        """Rename both databases in one transaction."""
        del undo
        return Kept(None) if item.role == "globals" else swap(item, to, kept, at)


def _is_configuration(item: Item) -> bool:
    return item.role == "globals" and item.extension == configuration.EXTENSION


__all__ = ["ENGINE", "Options", "PostgresqlEngine"]
ENGINE = PostgresqlEngine()
