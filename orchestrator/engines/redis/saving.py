"""Let the server write its own file, and know that it did: BGSAVE."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from time import monotonic

from orchestrator.engines.redis.connection import Target, lacking
from orchestrator.engines.redis.facts import info, number
from orchestrator.engines.redis.wire import Refused, Reply, Wire
from orchestrator.model.errors import DumpFailed, RightsMissing

RIGHTS = "+bgsave +info +config|get"
_AGAIN = 0.2  # seconds between two looks


def saved(wire: Wire, target: Target, timeout: float) -> tuple[datetime, str]:
    """Return when a new snapshot was begun at the earliest, and the path of its file as the server names it.

    Raises RightsMissing, DumpFailed.
    """
    until = monotonic() + timeout
    try:
        path = os.path.join(_setting(wire, target, "dir"), _setting(wire, target, "dbfilename"))
        _idle(wire, target, until)
        before = _saves(info(wire, "persistence"))
        _leave_second(wire, before[1], target)
        began = datetime.now(UTC)
        wire.call("BGSAVE")
        _idle(wire, target, until)
        after = info(wire, "persistence")
    except Refused as refused:
        if refused.code == "NOPERM":
            raise lacking(target, refused, RIGHTS) from refused
        raise DumpFailed(f"{target.where}: no snapshot: {refused.said}", "see the server's log") from refused
    if after.get("rdb_last_bgsave_status") != "ok" or _saves(after) <= before:
        text = (
            f"{target.where}: the server could not save: {after.get('rdb_last_bgsave_status', 'it does not tell why')}"
        )
        raise DumpFailed(text, "see the server's log; its disk may be full")
    return began, path


def _saves(found: dict[str, str]) -> tuple[int, int]:
    """Return how often it saved (0 before Redis 7), and in which second last."""
    return number(found, "rdb_saves"), number(found, "rdb_last_save_time")


def _leave_second(wire: Wire, second: int, target: Target) -> None:
    """Wait until the server's clock shows another second than that of its last save: only that tells the new one."""
    while number(info(wire, "server"), "server_time_usec", (second + 1) * 1_000_000) // 1_000_000 <= second:
        target.wait((), _AGAIN)


def _setting(wire: Wire, target: Target, name: str) -> str:
    found: Reply = wire.call("CONFIG", "GET", name)
    if isinstance(found, list) and len(found) == 2 and isinstance(found[1], bytes):
        return found[1].decode("utf-8", "surrogateescape")
    raise RightsMissing(f"{target.where}: it does not tell its setting {name}", f"ACL SETUSER {target.who} {RIGHTS}")


def _idle(wire: Wire, target: Target, until: float) -> None:
    """Wait until no save is under way."""
    while number(info(wire, "persistence"), "rdb_bgsave_in_progress"):
        if monotonic() > until:
            raise DumpFailed(f"{target.where}: its save took too long", "raise `timeout`")
        target.wait((), _AGAIN)
