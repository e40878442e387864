"""An undo list that also remembers what was registered, so that tests can assert that nothing is left."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.model.execution import Action, KillProcess, RemovePath, Undo


def is_alive(process: KillProcess) -> bool:
    """Whether exactly this process (PID and start time) still runs; a zombie counts as running: nobody reaped it."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(stat.rpartition(")")[2].split()[19]) == process.start


class RecordingUndo:
    """Passes all to `inner` (a real undo list) and keeps `actions` by ID and the IDs that are `finished`."""

    def __init__(self, inner: Undo) -> None:
        self._inner = inner
        self.actions: dict[str, Action] = {}
        self.finished: set[str] = set()

    def register(self, action: Action) -> str:
        action_id = self._inner.register(action)
        self.actions[action_id] = action
        return action_id

    def done(self, action_id: str) -> None:
        self._inner.done(action_id)
        self.finished.add(action_id)

    def living(self) -> list[KillProcess]:
        """Registered processes that still run."""
        return [action for action in self.actions.values() if isinstance(action, KillProcess) and is_alive(action)]

    def remaining(self) -> list[str]:
        """Registered paths that are still there, unless they were said to be no longer ours."""
        return [
            action.path
            for action_id, action in self.actions.items()
            if isinstance(action, RemovePath) and action_id not in self.finished and os.path.lexists(action.path)
        ]

    def assert_clean(self) -> None:
        assert not self.living()
        assert not self.remaining()
