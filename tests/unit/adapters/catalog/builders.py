"""Manifests and records as runs make them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.model.manifest import Manifest, ManifestItem, ManifestSource
from orchestrator.model.record import ItemRecord, RunRecord, ServiceRecord, SourceRecord

START = datetime(2024, 2, 29, 1, 2, 3, 456789, tzinfo=UTC)


def run_id(number: int) -> str:
    return f"{START + timedelta(days=number):%Y%m%dT%H%M%SZ}-{number:06x}"


def item(name: str = "all", part: str = "dumps", **changes: Any) -> ManifestItem:
    values: dict[str, Any] = {
        "name": name,
        "part": part,
        "path": f"/main.{name}.sql",
        "bytes": 1000,
        "sha256": "ab" * 32,
        "snapshot": f"{part}0",
        "role": "data",
        "extension": "sql",
        "seconds": 2.5,
        "counts": {"public.users": 3, "public.orders": 7},
        "counts_exact": True,
        "as_of": START,
    }
    return ManifestItem(**values | changes)


def source(name: str = "main", state: str = "taken", **changes: Any) -> ManifestSource:
    values: dict[str, Any] = {
        "name": name,
        "engine": "postgresql",
        "state": state,
        "items": () if state == "failed" else (item(),),
        "error": "server went away" if state == "failed" else "",
        "server": {"version": "15.4"},
    }
    return ManifestSource(**values | changes)


def manifest(number: int = 0, *, service: str = "hub", tier: str = "default", **changes: Any) -> Manifest:
    sources = changes.pop("sources", (source(),))
    values: dict[str, Any] = {
        "host": "hub-01",
        "machine": "0123456789abcdef",
        "service": service,
        "tier": tier,
        "run": run_id(number),
        "time": START + timedelta(days=number),
        "ended": START + timedelta(days=number, seconds=9),
        "result": "whole" if all(one.state == "taken" for one in sources) else "partial",
        "sources": sources,
        "policy_sha256": "cd" * 32,
        "files": {"policy.yml": "version: 1\n", "services.yml": "services: {}\n"},
        "tools": {"resguardo": "0.1", "restic": "0.19.1"},
    }
    return Manifest(**values | changes)


def record(number: int = 0, **changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "id": run_id(number),
        "command": "backup",
        "host": "hub-01",
        "started": START + timedelta(days=number),
        "ended": START + timedelta(days=number, seconds=10),
        "result": "success",
        "exit_code": 0,
    }
    return RunRecord(**values | changes)


def service_record(
    *, name: str = "main", size: int = 1000, seconds: float = 2.0, state: str = "taken"
) -> ServiceRecord:
    stored = ItemRecord(name="all", part="dumps", path="/main.all.sql", bytes=size, sha256="ab" * 32)
    sources = (SourceRecord(name=name, engine="sqlite", state=state, items=(stored,), seconds=seconds),)
    return ServiceRecord(service="hub", tier="default", sources=sources, added=123)
