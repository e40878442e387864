"""Documents for `--json`: our dataclasses as plain values, one document per command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from orchestrator.model.engine import Source
from orchestrator.model.point import Point, PointSource, State
from orchestrator.model.record import RunRecord
from orchestrator.model.secret import Secret


def document(command: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's document: `{"schema": "resguardo/<command>/1", …}` of plain JSON values."""
    return {"schema": f"resguardo/{command}/1", **plain(body)}


def plain(value: Any) -> Any:
    """Turn a value into what JSON knows.

    A dataclass becomes an object of its fields, a datetime RFC 3339 in UTC with Z, a State or other enum its word, a
    Secret `***`, a source its name and place; sets are sorted. Raises TypeError for anything else.
    """
    if value is None or type(value) in (str, bool, int, float):
        return value
    for kinds, turn in _TURNS:
        if isinstance(value, kinds):
            return turn(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"not for a document: {type(value).__name__}")


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _source(value: Source) -> dict[str, str]:
    # Its options and its resolver are for engines only.
    return {"id": value.id, "service": value.service, "name": value.name, "engine": value.engine, "tier": value.tier}


_TURNS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Secret, lambda _: "***"),
    (Enum, lambda value: value.name.lower()),
    (str, str),
    (datetime, _instant),
    (Source, _source),
    (Mapping, lambda value: {str(key): plain(entry) for key, entry in value.items()}),
    ((set, frozenset), lambda value: sorted(plain(entry) for entry in value)),
    ((list, tuple), lambda value: [plain(entry) for entry in value]),
)


def restore_points(points: Iterable[Point]) -> list[dict[str, Any]]:
    """Return `restore_points` of `list`."""
    return [_point(point) for point in points]


def _point(point: Point) -> dict[str, Any]:
    # One entry of `sources` per stored item, so that each names one snapshot and one path.
    return {
        "id": point.id,
        "service": point.service,
        "tier": point.tier,
        "run": point.run,
        "time": plain(point.time),
        "ended": plain(point.ended),
        "state": point.state.word,
        "partial": point.partial,
        "damaged": point.damaged,
        "retired": point.retired,
        "repository": point.repository,
        "commit": point.snapshots.get("commit", ""),
        "bytes": point.bytes,
        "sources": [entry for source in point.sources for entry in _source_entries(point, source)],
    }


def _source_entries(point: Point, source: PointSource) -> list[dict[str, Any]]:
    common = {
        "name": source.name,
        "engine": source.engine,
        "state": _source_word(source),
        "outcome": source.outcome,
        "error": source.error,
        "repository": point.repository,
    }
    if not source.items:
        return [common | {"item": "", "snapshot": "", "path": "", "bytes": 0, "sha256": None, "counts": {}}]
    return [
        common
        | {
            "item": item.name,
            "snapshot": item.snapshot,
            "path": item.path,
            "bytes": item.bytes,
            "sha256": item.sha256,
            "counts": dict(item.counts),
        }
        for item in source.items
    ]


def _source_word(source: PointSource) -> str:
    return source.outcome if source.state <= State.TAKEN else source.state.word


def run_document(record: RunRecord) -> dict[str, Any]:
    """Return the body of `backup` and of every other command that acts: the run."""
    body: dict[str, Any] = plain(record)
    body["services"] = [plain(service) | {"bytes": service.bytes} for service in record.services]
    body["seconds"] = round(max(0.0, (record.ended - record.started).total_seconds()), 3)
    return body
