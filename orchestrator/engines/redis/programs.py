"""The programs of Redis and Valkey: where they are, under either name."""

from __future__ import annotations

import os
import re
from typing import Literal

from orchestrator.engines.redis.options import Options
from orchestrator.model.errors import ToolMissing
from orchestrator.model.execution import Executor, Undo

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


def version(path: str, at: Executor, undo: Undo) -> str:
    """Return `redis-cli 7.0.15` of a program. Raises ToolMissing."""
    text = at.run([path, "--version"], undo=undo, deadline=30.0).stdout.decode(errors="replace").strip()
    found = re.search(r"\d+(?:\.\d+)+", text)
    if found is None:
        raise ToolMissing(f"{path} does not tell its version: {text[:200]!r}", "install it anew (redis-tools)")
    return f"{os.path.basename(path)} {found[0]}"
