"""restic's output read tolerantly: JSON line by line, anything else skipped, new types and fields ignored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

Line = dict[str, Any]
# Older versions erase a progress line with this before they print to stderr.
_ERASE = "\x1b[2K"
# restic prints nanoseconds, Python reads microseconds; Go drops trailing zeros.
_FRACTION = re.compile(r"\.(\d+)")


def objects(text: str) -> Iterator[Line]:
    """Yield every line that is a JSON object."""
    for line in text.split("\n"):
        if (found := parse_object(line)) is not None:
            yield found


def parse_object(line: str) -> Line | None:
    """Read one line; None when it is not a JSON object."""
    line = line.removeprefix(_ERASE).strip()
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def last_of(text: str, kind: str) -> Line | None:
    """Return the last line whose message_type is `kind`."""
    found = None
    for line in objects(text):
        if line.get("message_type") == kind:
            found = line
    return found


def plain(text: str) -> Iterator[str]:
    """Yield the lines that are not JSON, cleaned of terminal control, without empty ones."""
    for line in text.split("\n"):
        clean = line.removeprefix(_ERASE).strip()
        if clean and parse_object(clean) is None:
            yield clean


def errors(text: str) -> Iterator[tuple[str, str]]:
    """Yield (item, reason) of every error line; both restic's old and new shapes of `error` are known."""
    for line in objects(text):
        if line.get("message_type") == "error":
            yield str(line.get("item") or ""), _reason(line)


def _reason(line: Line) -> str:
    error = line.get("error")
    if isinstance(error, Mapping):
        return str(error.get("message") or error.get("Op") or "cannot be read")
    return str(error or line.get("message") or "cannot be read")


def exit_message(text: str) -> str:
    """Return the message of restic's own last word (`exit_error`), or ""."""
    last = last_of(text, "exit_error")
    return str(last.get("message") or "") if last else ""


def number(line: Mapping[str, Any], key: str) -> int:
    """Read a count; absent (restic omits zeros) or odd values are 0."""
    value = line.get(key)
    return int(value) if isinstance(value, int | float) else 0


def instant(value: object) -> datetime | None:
    """Read one of Go's RFC 3339 times as UTC; None when it is none."""
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(_FRACTION.sub(lambda found: f".{found[1][:6]:0<6}", value))
    except ValueError:
        return None
    return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
