"""The engine that both servers share; see orchestrator.model.engine.Engine for the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

from orchestrator.engines._mysql import accounts, swap
from orchestrator.engines._mysql.dump import dump
from orchestrator.engines._mysql.options import Options
from orchestrator.engines._mysql.probe import probe
from orchestrator.engines._mysql.restore import restore
from orchestrator.engines._mysql.server import Kind
from orchestrator.engines._mysql.verify import verify
from orchestrator.model.engine import Data, Dump, Facts, Item, Kept, Original, PathSet, Restored, Source
from orchestrator.model.errors import Bug
from orchestrator.model.execution import Executor, Finding, Undo


class MysqlEngine:
    """name: "mariadb" or "mysql"; a server of the other kind is refused, with a hint."""

    Options: type[Any] = Options
    delivers: Literal["stream", "paths"] = "stream"
    places: Literal["path", "server"] = "server"

    def __init__(self, name: Kind) -> None:
        self.name: str = name

    def originals(self, source: Source) -> Mapping[str, str]:
        """Items bear the names of their databases."""
        del source
        return {}

    def original(self, item: Item, at: Executor) -> Original:
        """Whether the database is there, and whether it can be swapped."""
        return Original() if item.role == "globals" else swap.original(item, at)

    def probe(self, source: Source, at: Executor, undo: Undo) -> Facts:
        """Look at the server, its databases and our rights in them."""
        return probe(source, at, undo)

    def dump(self, item: Item, at: Executor, undo: Undo) -> AbstractContextManager[Dump]:
        """Start mariadb-dump or mysqldump; the globals are asked from the server."""
        return dump(item, at, undo)

    def paths(self, item: Item) -> PathSet:
        """Never called: this engine delivers streams."""
        raise Bug(f"{self.name} item {item.name!r} has no paths")

    def restore(self, item: Item, data: Data, to: str, at: Executor, undo: Undo) -> Restored:
        """Restore into the new database `to`; the globals add the users that are missing."""
        if item.role == "globals":
            return accounts.restore(item, data, to, at)
        return restore(item, data, to, at, undo)

    def verify(self, item: Item, to: str, expected: Mapping[str, int], at: Executor, undo: Undo) -> Sequence[Finding]:
        """Compare counts and inventory, check tables."""
        del undo
        return accounts.verify(item, expected, at) if item.role == "globals" else verify(item, to, expected, at)

    def swap(self, item: Item, to: str, kept: str, at: Executor, undo: Undo) -> Kept:
        """Move all tables of both databases in one statement."""
        del undo
        return Kept(None) if item.role == "globals" else swap.swap(item, to, kept, at)
