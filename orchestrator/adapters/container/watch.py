"""Whether a container is still the one in which a tool was started."""

from __future__ import annotations

import time

from orchestrator.adapters.container.daemon import Container, Daemon, NotThere, not_ready
from orchestrator.model.errors import ResguardoError, ServerUnreachable

PAUSED = 30.0  # seconds that a container may be paused while a tool runs inside


class Watch:
    """Looks at the container. tool: its name for messages · paused: seconds that the container may be."""

    def __init__(self, daemon: Daemon, container: Container, tool: str, paused: float = PAUSED) -> None:
        self._daemon = daemon
        self._container = container
        self._tool = tool
        self._paused = paused
        self._frozen_since: float | None = None

    def check(self) -> None:
        """See that the container still runs. Raises ServerUnreachable."""
        now = self._now()
        if now.status != "paused":
            self._frozen_since = None
            self.assert_same(now)
            return
        since = self._frozen_since = self._frozen_since or time.monotonic()
        if time.monotonic() - since >= self._paused:
            self._raise_changed(not_ready(now), "docker unpause it, and do not pause it during backups")

    def assert_same(self, now: Container | None = None) -> None:
        """See that it runs, and has run all the while. Raises ServerUnreachable."""
        before = self._container
        now = now or self._now()
        if not now.running and now.status != "paused":
            self._raise_changed(not_ready(now))
        if now.started != before.started:
            self._raise_changed(ServerUnreachable(f"container {before.name} was restarted", f"docker logs {now.name}"))

    def _now(self) -> Container:
        before = self._container
        try:
            return self._daemon.inspect(before.id)
        except NotThere:
            gone = ServerUnreachable(f"container {before.name} was removed", "it must stay during backups; run again")
            self._raise_changed(gone)
            raise

    def _raise_changed(self, why: ResguardoError, hint: str | None = None) -> None:
        text = f"{why.message}, while {self._tool} ran inside it"
        raise ServerUnreachable(text, hint or why.hint) from why
