"""The programs of Redis and Valkey: where they are, under either name."""

from __future__ import annotations

import os
from typing import Literal

from orchestrator.engines.redis.options import Options
from orchestrator.model.errors import ToolMissing
from orchestrator.model.execution import Executor

Program = Literal["cli", "server", "check-rdb"]


def look(program: Program, options: Options, at: Executor, first: str = "redis") -> str | None:
    """Return the path of `redis-PROGRAM` or `valkey-PROGRAM`, or None. first: which of both is wanted more."""
    for family in dict.fromkeys((first, "redis", "valkey")):
        name = f"{family}-{program}"
        if options.tools:
            path = os.path.join(options.tools, name)
            if at.exists(path):
                return path
        elif found := at.which(name):
            return found
    return None


def find(program: Program, options: Options, at: Executor) -> str:
    """Return as `look`. Raises ToolMissing."""
    path = look(program, options, at)
    if path is None:
        where = options.tools or at.place or "PATH"
        raise ToolMissing(f"redis-{program} is not in {where}", "install it (redis-tools), or set `tools`")
    return path
