"""MongoDB: a database as mongodump's archive, read by mongodump or by the driver, restored under a new name.

options.py what can be set · connection.py answers that end · catalogue.py what a database holds · archive.py, crc64.py
the format, strictly · moment.py snapshots and the oplog · mongodump.py, whole.py the tool · producing.py, dump.py ·
incoming.py, loading.py, restore.py the way back · people.py users and roles · verify.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

from orchestrator.engines.mongodb import people
from orchestrator.engines.mongodb.dump import dump
from orchestrator.engines.mongodb.options import Options
from orchestrator.engines.mongodb.probe import probe
from orchestrator.engines.mongodb.restore import restore
from orchestrator.engines.mongodb.verify import no_swap, original, verify
from orchestrator.model.engine import Data, Dump, Facts, Item, Kept, Original, PathSet, Restored, Source
from orchestrator.model.errors import Bug
from orchestrator.model.execution import Executor, Finding, Undo


class MongodbEngine:
    """The engine `mongodb`; see orchestrator.model.engine.Engine for the contract."""

    name = "mongodb"
    Options: type[Any] = Options
    delivers: Literal["stream", "paths"] = "stream"
    places: Literal["path", "server"] = "server"

    def originals(self, source: Source) -> Mapping[str, str]:
        """Items bear the names of their databases."""
        del source
        return {}

    def original(self, item: Item, at: Executor) -> Original:
        """A database cannot be replaced as a whole; users and roles are only added to."""
        del at
        return Original() if item.role == "globals" else original(item)

    def probe(self, source: Source, at: Executor, undo: Undo) -> Facts:
        """Look at the server, its databases and our rights in them."""
        return probe(source, at, undo)

    def dump(self, item: Item, at: Executor, undo: Undo) -> AbstractContextManager[Dump]:
        """Start mongodump, or read the server ourselves."""
        return dump(item, at, undo)

    def paths(self, item: Item) -> PathSet:
        """Never called: this engine delivers streams."""
        raise Bug(f"mongodb item {item.name!r} has no paths")

    def restore(self, item: Item, data: Data, to: str, at: Executor, undo: Undo) -> Restored:
        """Restore into the new database `to`; the globals add the users and roles that are missing."""
        if item.role == "globals":
            return people.restore(item, data, to, at)
        return restore(item, data, to, at, undo)

    def verify(self, item: Item, to: str, expected: Mapping[str, int], at: Executor, undo: Undo) -> Sequence[Finding]:
        """Compare counts, indexes and views; let the server validate its collections."""
        del undo
        return people.verify(item, expected, at) if item.role == "globals" else verify(item, to, expected, at)

    def swap(self, item: Item, to: str, kept: str, at: Executor, undo: Undo) -> Kept:
        """Refused; users and roles need none."""
        del to, kept, at, undo
        if item.role == "globals":
            return Kept(None)
        raise no_swap(item)


__all__ = ["ENGINE", "MongodbEngine", "Options"]
ENGINE = MongodbEngine()
