"""The catalog in SQLite: the parts put together behind the port `Catalog`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from orchestrator.adapters.catalog.database import Database
from orchestrator.adapters.catalog.events import Events
from orchestrator.adapters.catalog.listing import PointReader
from orchestrator.adapters.catalog.outbox import Outbox
from orchestrator.adapters.catalog.points import PointWriter
from orchestrator.adapters.catalog.runs import Runs


class SqliteCatalog(PointWriter, PointReader, Runs, Events, Outbox):
    """The local history in one file (mode 0600), used by all threads of a process and by several processes.

    Raises Precondition when the file is damaged, another program's or of a newer version (the hint says what to do),
    RightsMissing, DiskFull, Busy.
    """

    def __init__(self, path: str) -> None:
        self._db = Database(path)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Make everything in the block one transaction: all of it or nothing, synced once. Other threads wait."""
        with self._db.writing():
            yield

    def close(self) -> None:
        """Release the file; nothing may be asked afterwards. Safe to call again."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
