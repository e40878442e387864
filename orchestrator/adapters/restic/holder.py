"""Who holds a restic lock, as restic tells it when it refuses; and whether waiting for that one makes sense."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass

NOT_RUNNING = "that process is not running on this machine"
REMOVE = (
    "`resguardo recover --unlock` removes a lock that a dead process left; first make sure that it does not run in a "
    "container, or on another machine of that name"
)
_HOLDER = re.compile(
    r"locked (?P<kind>exclusively )?by PID (?P<pid>\d+) on (?P<host>\S+) by (?P<user>.*?)(?: \(UID[^)]*\))?\n"
    r"lock was created at [^(]*\((?P<age>[^)]*) ago\)"
)


@dataclass(frozen=True)
class Holder:
    """A lock's holder. age: as restic writes it ("1m2.5s")."""

    pid: int
    host: str
    user: str
    age: str
    exclusive: bool

    def __str__(self) -> str:
        kind = "exclusively " if self.exclusive else ""
        return f"{kind}by PID {self.pid} on {self.host} ({self.user}) for {self.age}"

    def gone(self) -> bool:
        """Whether it was a process of this host that does not run, as far as we can see: no wait would end."""
        return self.host == socket.gethostname() and not os.path.exists(f"/proc/{self.pid}")


def holder_of(words: str) -> Holder | None:
    """Read restic's refusal; None when it names nobody."""
    found = _HOLDER.search(words)
    if found is None:
        return None
    return Holder(int(found["pid"]), found["host"], found["user"], found["age"], bool(found["kind"]))
