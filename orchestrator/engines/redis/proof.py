"""Whether a file at the path that a server tells is the one that it wrote: where tools run, the file may be another's.

A file does not name its server. But it tells the second when it was begun, the replication that the server takes part
in, and its keys; the server tells all three, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.engines.redis.connection import Target
from orchestrator.engines.redis.facts import info, number
from orchestrator.engines.redis.rdb import Contents
from orchestrator.engines.redis.wire import Wire
from orchestrator.model.errors import DumpFailed, Precondition

_SECTIONS = ("server", "replication", "cluster", "keyspace", "stats", "persistence")  # that of changes is the last
_COARSE = 10_000  # microseconds that the clock of whole seconds may be behind the other
_GONE = ("expired_keys", "expired_subkeys", "expired_fields", "evicted_keys")  # what vanishes without being a change
_HINT = "give the server's own socket or container, or use another method"


@dataclass(frozen=True)
class State:
    """What a server told of itself at one moment."""

    told: Mapping[str, str]

    @property
    def saves(self) -> tuple[int, int]:
        """How often it saved (0 before Redis 7), and in which second last."""
        return self._number("rdb_saves"), self._number("rdb_last_save_time")

    @property
    def second(self) -> int:
        """Its clock; -1 where it does not tell: then it left that of its last save."""
        return max((self._number("server_time_usec") - _COARSE) // 1_000_000, self.saves[1])

    @property
    def stream(self) -> str:
        """The replication that it takes part in."""
        return self.told.get("master_replid", "")

    @property
    def names_stream(self) -> bool:
        """Whether what it saves surely tells that."""
        return self.told.get("role") == "master" and self._number("repl_backlog_active") == 1

    @property
    def quiet(self) -> bool:
        """Whether nobody wrote since its last save began; a cluster moves keys by itself."""
        return self.told.get("rdb_changes_since_last_save") == "0" and self.told.get("cluster_enabled") != "1"

    @property
    def gone(self) -> int:
        """How many keys vanished by themselves since it started, at most."""
        return sum(self._number(name) for name in _GONE)

    @property
    def keys(self) -> dict[int, int]:
        """Its keys by database."""
        found = {}
        for name, value in self.told.items():
            counted = dict(part.partition("=")[::2] for part in value.split(","))
            if name[:2] == "db" and name[2:].isdigit() and counted.get("keys", "").isdigit():
                found[int(name[2:])] = int(counted["keys"])
        return found

    def _number(self, name: str) -> int:
        return number(dict(self.told), name)


def state(wire: Wire) -> State:
    """Ask a server. Raises Refused."""
    return State(info(wire, *_SECTIONS))


@dataclass(frozen=True)
class Proof:
    """What a server told before it saved, after it had, and when its file had been opened."""

    before: State
    after: State
    opened: State
    where: str

    def assert_own(self, found: Contents) -> None:
        """See that this is what the server saved. Raises DumpFailed."""
        if doubt := self._time(found) or self._stream(found) or self._keys(found):
            text = f"{self.where}: the file at the path that it tells is not what it saved: {doubt}"
            raise DumpFailed(text, f"where tools run, that path is another server's; {_HINT}")

    def _time(self, found: Contents) -> str:
        told = found.aux.get("ctime", "")
        if not told.isdigit():
            return "it does not say when it was written"
        first, last = self.before.second, self.opened.saves[1]
        if first <= int(told) <= last:
            return ""
        return f"it was begun {int(told) - first:+d} s from the start of the save, by the server's clock"

    def _stream(self, found: Contents) -> str:
        named, known = found.aux.get("repl-id"), {self.before.stream, self.opened.stream}
        if named is not None and named not in known:
            return "it belongs to another replication"
        if named is None and self.before.names_stream and self.opened.names_stream:
            return "it names no replication, which that server would"
        return ""

    def _keys(self, found: Contents) -> str:
        """Compare keys where that is possible: nobody wrote since the save, and no other save is in the way."""
        same = self.after.saves == self.opened.saves and self.before.stream == self.opened.stream
        vanished = self.opened.gone - self.before.gone
        if found.blind or not same or not self.opened.quiet or vanished < 0:
            return ""
        theirs = self.opened.keys
        for database in sorted({*theirs, *found.keys}):
            read, there = found.keys.get(database, 0), theirs.get(database, 0)
            if not 0 <= read - there <= vanished:
                return f"{read} keys in database {database} instead of {there}"
        return ""


def assert_beside(target: Target) -> None:
    """See that a server may have the files that tools see. Raises Precondition."""
    address = target.address
    if not address.socket and not _is_loopback(address.host):
        text = f"{target.where}: method bgsave reads the server's file, and {address.host!r} may be another machine"
        raise Precondition(text, f"leave host out where the server runs beside its tools; {_HINT}")


def _is_loopback(host: str) -> bool:
    import ipaddress  # noqa: PLC0415 - start-up

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
