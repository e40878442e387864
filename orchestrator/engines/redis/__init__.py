"""Redis and Valkey: a snapshot by the replication protocol, checked and counted to its last byte as it passes.

options.py what can be set · wire.py, connection.py a connection that cannot hang · facts.py what a server tells of
itself · probe.py · payload.py, saving.py the ways to a snapshot · rdb.py, crc64.py reading it · dump.py · users.py the
access control list · bringing.py bytes on their way back · folder.py, restore.py a data directory · trial.py, verify.py
a check of one · programs.py, memory.py programs and what they read
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

from orchestrator.engines.redis.dump import dump
from orchestrator.engines.redis.options import Options
from orchestrator.engines.redis.probe import DATA_ITEM, probe
from orchestrator.engines.redis.restore import original, restore, swap
from orchestrator.engines.redis.users import restore_users, verify_users
from orchestrator.engines.redis.verify import verify
from orchestrator.model.engine import Data, Dump, Facts, Item, Kept, Original, PathSet, Places, Restored, Source
from orchestrator.model.errors import Bug
from orchestrator.model.execution import Executor, Finding, Undo


class RedisEngine:
    """The engine `redis`; see orchestrator.model.engine.Engine for the contract. A restore makes a data directory."""

    name = "redis"
    Options: type[Any] = Options
    delivers: Literal["stream", "paths"] = "stream"
    places: Places = "folder"

    def originals(self, source: Source) -> Mapping[str, str]:
        """The server's data directory, where `directory` tells it."""
        return {DATA_ITEM: source.options.directory} if source.options.directory else {}

    def original(self, item: Item, at: Executor) -> Original:
        """Whether the directory is there and its server stopped."""
        return Original() if item.role == "globals" else original(item, at)

    def probe(self, source: Source, at: Executor, undo: Undo) -> Facts:
        """Look at the server and our rights."""
        return probe(source, at, undo)

    def dump(self, item: Item, at: Executor, undo: Undo) -> AbstractContextManager[Dump]:
        """Ask for a snapshot, or for the users."""
        return dump(item, at, undo)

    def paths(self, item: Item) -> PathSet:
        """Never called: this engine delivers streams."""
        raise Bug(f"redis item {item.name!r} has no paths")

    def restore(self, item: Item, data: Data, to: str, at: Executor, undo: Undo) -> Restored:
        """Make the new data directory `to`; users go to a file, and to the server where it lacks them."""
        return restore_users(item, data, to, at, undo) if item.role == "globals" else restore(item, data, to, undo)

    def verify(self, item: Item, to: str, expected: Mapping[str, int], at: Executor, undo: Undo) -> Sequence[Finding]:
        """Read it to its end, compare keys, and start a throw-away server on a copy."""
        if item.role == "globals":
            return verify_users(item, to, expected, at)
        return verify(item, to, expected, at, undo)

    def swap(self, item: Item, to: str, kept: str, at: Executor, undo: Undo) -> Kept:
        """Exchange the directories of a stopped server."""
        return Kept(None) if item.role == "globals" else swap(item, to, kept, at, undo)


__all__ = ["ENGINE", "Options", "RedisEngine"]
ENGINE = RedisEngine()
