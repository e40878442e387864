"""The log: one JSON line per event in `resguardo.log`, rotated by size and age, readable by the owner only."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from orchestrator.adapters.redaction import Redactor
from orchestrator.model.record import Event
from orchestrator.model.secret import Secret

NAME = "resguardo.log"
_DAY = 86400.0
_MOST_FILES = 30  # beside the current one, whatever their age: a log must not fill the disk
_ROTATED = re.compile(re.escape(NAME) + r"\.\d{8}T\d{6}\.\d{6}Z")
_LEVELS = {"failed": logging.ERROR, "partial": logging.WARNING, "warning": logging.WARNING}
_FIELDS = ("event", "run", "service", "source", "repository", "hint")


class LogLimits(Protocol):
    """keep: seconds until a log file is removed · size: bytes of one file before a new one begins."""

    @property
    def keep(self) -> float:
        """Seconds."""

    @property
    def size(self) -> int:
        """Bytes."""


class JsonFormatter(logging.Formatter):
    """One JSON object per record: time, level, message, and the fields of the event; secrets are taken out first."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        body: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        body |= {name: value for name in _FIELDS if (value := getattr(record, name, None))}
        if record.exc_info:
            body["traceback"] = self.formatException(record.exc_info)
        clean = {name: self._redact(value) if isinstance(value, str) else value for name, value in body.items()}
        return json.dumps(clean, ensure_ascii=True)


class RotatingFile(logging.Handler):
    """Appends whole lines to a 0600 file, several processes at once; begins a new one at `size` bytes or after a day.

    What cannot be written is dropped: a full disk under the log must not fail a backup, whose record is the catalog.
    """

    def __init__(self, folder: str, limits: LogLimits) -> None:
        super().__init__()
        self._path = os.path.join(folder, NAME)
        self._folder = folder
        self._limits = limits

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
            with suppress(FileNotFoundError):  # another process was quicker
                self._rotate(len(line))
            descriptor = os.open(
                self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError:
            return

    def _rotate(self, coming: int) -> None:
        now, status = time.time(), os.stat(self._path)
        began = self._began(status.st_mtime)
        if status.st_size + coming <= self._limits.size and now - began < _DAY:
            return
        os.rename(self._path, f"{self._path}.{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S.%fZ}")
        self._remove_old(now)

    def _began(self, fallback: float) -> float:
        # Files have no time of birth everywhere; the first line has one.
        with open(self._path, "rb") as stream:
            first = stream.readline(65536)
        try:
            return datetime.fromisoformat(json.loads(first)["time"]).timestamp()
        except (ValueError, KeyError, TypeError):
            return fallback

    def _remove_old(self, now: float) -> None:
        rotated = sorted((name for name in os.listdir(self._folder) if _ROTATED.fullmatch(name)), reverse=True)
        for place, name in enumerate(rotated):
            path = os.path.join(self._folder, name)
            if place >= _MOST_FILES or now - os.stat(path).st_mtime > self._limits.keep:
                os.unlink(path)


class EventLog:
    """Writes events to the log of one state folder. known: returns the secrets that were resolved so far."""

    def __init__(self, folder: str, limits: LogLimits, known: Callable[[], Iterable[Secret]] = tuple) -> None:
        handler = RotatingFile(folder, limits)
        handler.setFormatter(JsonFormatter(Redactor(known)))
        # One logger for each folder: two policies in one process must not share a file.
        self.logger = logging.getLogger(f"resguardo.log:{os.path.abspath(folder)}")
        self.logger.setLevel(logging.INFO)
        self.logger.propagate = False
        self.logger.handlers[:] = [handler]

    def __call__(self, event: Event) -> None:
        """Write one event."""
        extra = {
            "event": event.name,
            "run": event.run,
            "service": event.service,
            "source": event.source,
            "repository": event.repository,
            "hint": event.hint,
        }
        self.logger.log(_LEVELS.get(event.severity, logging.INFO), "%s", event.message, extra=extra)
