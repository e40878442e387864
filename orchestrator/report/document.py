"""Documents for `--json`: our dataclasses as plain values, one document per command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from orchestrator.model.point import Point
from orchestrator.model.record import RunRecord
from orchestrator.model.secret import Secret
from orchestrator.report.views import VIEWS, extras


def document(name: str, body: Any) -> dict[str, Any]:
    """Return a document: `{"schema": "resguardo/<name>/1", …}` of plain JSON values. body: a dataclass or a mapping."""
    return {"schema": schema_id(name), **plain(body)}


def schema_id(name: str) -> str:
    """Return what a document's `schema` says."""
    return f"resguardo/{name}/1"


def plain(value: Any) -> Any:
    """Turn a value into what JSON knows.

    A dataclass becomes an object of its view or its fields, a datetime RFC 3339 in UTC with Z, a State or other enum
    its word, a Secret `***`; sets are sorted. Raises TypeError for anything else. `shapes` says the same of types.
    """
    if value is None or type(value) in (str, bool, int, float):
        return value
    if view := VIEWS.get(type(value)):
        return plain(view(value))
    for kinds, turn in _TURNS:
        if isinstance(value, kinds):
            return turn(value)
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        return own | {key: plain(turn(value)) for key, turn in extras(type(value)).items()}
    raise TypeError(f"not for a document: {type(value).__name__}")


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


_TURNS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Secret, lambda _: "***"),
    (Enum, lambda value: value.name.lower()),
    (str, str),
    (datetime, _instant),
    (Mapping, lambda value: {str(key): plain(entry) for key, entry in value.items()}),
    ((set, frozenset), lambda value: sorted(plain(entry) for entry in value)),
    ((list, tuple), lambda value: [plain(entry) for entry in value]),
)


def restore_points(points: Iterable[Point]) -> list[dict[str, Any]]:
    """Return `restore_points` of `list`."""
    return [plain(point) for point in points]


def run_document(record: RunRecord) -> dict[str, Any]:
    """Return the body of `backup` and of every other command that acts: the run."""
    body: dict[str, Any] = plain(record)
    return body
