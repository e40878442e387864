"""Let the server write its own file, and know that it did: BGSAVE."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from orchestrator.engines.redis.connection import Target, lacking
from orchestrator.engines.redis.facts import info, number
from orchestrator.engines.redis.proof import Proof, State, state
from orchestrator.engines.redis.wire import Refused, Reply, Wire
from orchestrator.model.errors import DumpFailed, RightsMissing

RIGHTS = "+bgsave +info +config|get"
_AGAIN = 0.2  # seconds between two looks


@dataclass(frozen=True)
class Saved:
    """A new snapshot. began: at the earliest · path: of its file, as the server names it · before, after: the save."""

    began: datetime
    path: str
    before: State
    after: State

    def proof(self, wire: Wire, where: str) -> Proof:
        """Return what the file's content has to agree with; asked when the file has been opened. Raises Refused."""
        return Proof(self.before, self.after, state(wire), where)


def saved(wire: Wire, target: Target, timeout: float) -> Saved:
    """Let a server save. Raises RightsMissing, DumpFailed."""
    until = monotonic() + timeout
    try:
        path = os.path.join(_setting(wire, target, "dir"), _setting(wire, target, "dbfilename"))
        _idle(wire, target, until)
        _leave_second(wire, state(wire).saves[1], target)
        before = state(wire)
        began = datetime.now(UTC)
        wire.call("BGSAVE")
        _idle(wire, target, until)
        after = state(wire)
    except Refused as refused:
        if refused.code == "NOPERM":
            raise lacking(target, refused, RIGHTS) from refused
        raise DumpFailed(f"{target.where}: no snapshot: {refused.said}", "see the server's log") from refused
    status = after.told.get("rdb_last_bgsave_status", "it does not tell why")
    if status != "ok" or after.saves <= before.saves:
        text = f"{target.where}: the server could not save: {status}"
        raise DumpFailed(text, "see the server's log; its disk may be full")
    return Saved(began, path, before, after)


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
