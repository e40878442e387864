"""How our values look in SQLite: instants as microseconds, text that is not UTF-8 as bytes, small mappings as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.model.owner import Owner

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(when: datetime) -> int:
    """Return microseconds since 1970 UTC, exactly (a float would lose the last digits)."""
    return (when - _EPOCH) // _MICROSECOND


def micros_or_none(when: datetime | None) -> int | None:
    """As micros, keeping None."""
    return None if when is None else micros(when)


def instant(value: int) -> datetime:
    """Return the UTC instant of microseconds."""
    return _EPOCH + timedelta(microseconds=value)


def instant_or_none(value: int | None) -> datetime | None:
    """As instant, keeping None."""
    return None if value is None else instant(value)


def bind(text: str) -> str | bytes:
    """Return text as SQLite can take it: names from disks and servers may hold bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def bind_or_none(text: str | None) -> str | bytes | None:
    """As bind, keeping None."""
    return None if text is None else bind(text)


def text(value: Any) -> str:
    """Undo bind."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else str(value)


def text_or_none(value: Any) -> str | None:
    """Undo bind_or_none."""
    return None if value is None else text(value)


def pack(mapping: Mapping[str, Any]) -> str:
    """Return a mapping as JSON in its own order: counts are shown in the order that the engine gave."""
    return json.dumps(dict(mapping)) if mapping else "{}"


def unpack(value: str) -> dict[str, Any]:
    """Undo pack."""
    return dict(json.loads(value)) if value != "{}" else {}


def owner_or_none(value: str | None) -> Owner | None:
    """Read an owner that was packed, keeping None."""
    return None if value is None else Owner.read(unpack(value))


def pack_list(values: Iterable[str]) -> str:
    """Return strings as a JSON list."""
    return json.dumps(list(values))


def unpack_list(value: str) -> tuple[str, ...]:
    """Undo pack_list."""
    return tuple(json.loads(value))
