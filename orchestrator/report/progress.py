"""Live figures on a terminal; nowhere else."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from orchestrator.model.execution import Progress
from orchestrator.report.units import safe

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class NoProgress:
    """Shows nothing."""

    def start(self, source: str, expected: int | None = None) -> None:
        """Show nothing."""

    def update(self, source: str, done: int) -> None:
        """Show nothing."""

    def finish(self, source: str, state: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to take away."""


class TerminalProgress:
    """One line for each source on stderr: state, bar, bytes, rate, time left. Called from any thread.

    It begins with the first source and ends when no source is under way, or with `close`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    def start(self, source: str, expected: int | None = None) -> None:
        """Add a line; `expected` bytes give it a bar and a time left. A source begun again starts anew."""
        with self._lock:
            if self._bars is None:
                self._bars = _bars()
                self._bars.start()
            if source in self._tasks:
                self._bars.remove_task(self._tasks[source])
            self._tasks[source] = self._bars.add_task(safe(source), total=expected or None, state="")

    def update(self, source: str, done: int) -> None:
        """Show the bytes that have moved in all."""
        with self._lock:
            if self._bars is not None and source in self._tasks:
                self._bars.update(self._tasks[source], completed=done)

    def finish(self, source: str, state: str) -> None:
        """Write the source's last line above the bars; the last one of all takes them away."""
        with self._lock:
            if self._bars is None or source not in self._tasks:
                return
            task = self._tasks.pop(source)
            self._bars.console.print(f"{safe(source)}  {safe(state)}", markup=False, highlight=False)
            self._bars.remove_task(task)
            if not self._tasks:
                self._stop()

    def close(self) -> None:
        """Take the bars away and show the cursor again; sources that are under way leave no last line."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._bars = None
        self._tasks.clear()


def _bars() -> Bars:
    from rich.console import Console  # noqa: PLC0415 - a terminal only
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def progress_for(*, quiet: bool = False) -> Progress:
    """Return live progress when stderr is a terminal that can show it, else none."""
    return NoProgress() if quiet or not sys.stderr.isatty() else TerminalProgress()
