"""The manifest, schema 1: what a service's run commits, as the stored file `manifest.json`.

UTF-8 JSON with sorted keys, at most 8 MiB. Readers ignore unknown keys and refuse an unknown major version. It names
the snapshots of its run by tags (run, part, source, item) and by restic ID as a hint: `restic copy` changes IDs but
keeps tags and notes the ID that it copied from.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from orchestrator.model.errors import DataDamaged
from orchestrator.model.names import is_name, is_run_id, point_id
from orchestrator.model.owner import Owner
from orchestrator.model.record import ItemRecord

SCHEMA = "resguardo/manifest/1"
LIMIT = 8 * 1024 * 1024
_MOST = 2**63 - 1  # what a database holds as one number
_FROM, _TO = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)  # any zone can show what lies between
_STATES = ("taken", "partial", "failed")
_PARTS = ("paths", "dumps", "stream")
_EXTENSION = re.compile(r"[a-z0-9]{0,12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ManifestItem(ItemRecord):
    """One stored item as the record has it. tree: restic's tree ID where known, else None.

    snapshot is a hint: restic's ID in the repository that was written first.
    """

    tree: str | None = None


@dataclass(frozen=True)
class ManifestSource:
    """One source. state: taken|partial|failed · error: why not taken · server: {"version", "image"}."""

    name: str
    engine: str
    state: str
    items: tuple[ManifestItem, ...] = ()
    error: str = ""
    server: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A restore point's manifest.

    files: name → text of policy.yml and services.yml as they were · rules: repository → the retention rules that ran
    there last, so that a lost catalog does not take steady ageing for a changed rule · earned: repository → run →
    source → state word of what older points of this service and tier had earned by then; the catalog does not keep it.
    """

    host: str
    machine: str
    service: str
    tier: str
    run: str
    time: datetime
    ended: datetime
    result: str
    sources: tuple[ManifestSource, ...]
    policy_sha256: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)
    earned: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)

    @property
    def point(self) -> str:
        """The restore point's ID."""
        return point_id(self.service, self.tier, self.run)

    @property
    def whole(self) -> bool:
        """Whether it says that all was taken, and names something of each source."""
        taken = all(source.state == "taken" and source.items for source in self.sources)
        return self.result == "whole" and bool(self.sources) and taken


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    raise TypeError(f"not JSON: {type(value).__name__}")


def encode(manifest: Manifest) -> bytes:
    """Return the stored form. Raises DataDamaged when it would be over the limit."""
    body = asdict(manifest)
    body["schema"] = SCHEMA
    body["point"] = manifest.point
    body["policy"] = {"sha256": body.pop("policy_sha256"), "files": body.pop("files"), "rules": body.pop("rules")}
    data = json.dumps(body, sort_keys=True, ensure_ascii=True, default=_plain).encode()
    if len(data) > LIMIT:
        raise DataDamaged(f"manifest of {manifest.point}: {len(data)} bytes, over the limit of {LIMIT}")
    return data


def decode(data: bytes) -> Manifest:
    """Read the stored form. Raises DataDamaged when it is not a manifest of a version that we know."""
    try:
        body = json.loads(data)
        return _manifest(body)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise DataDamaged(
            f"manifest cannot be read: {error}", "restore an older point, or use a newer resguardo"
        ) from error


def _manifest(body: Mapping[str, Any]) -> Manifest:
    if body.get("schema") != SCHEMA:
        raise ValueError(f"schema is {body.get('schema')!r}, not {SCHEMA!r}")
    policy = body.get("policy") or {}
    manifest = Manifest(
        host=str(body["host"]),
        machine=str(body["machine"]),
        service=str(body["service"]),
        tier=str(body["tier"]),
        run=str(body["run"]),
        time=_time(body["time"]),
        ended=_time(body["ended"]),
        result=str(body["result"]),
        sources=tuple(_source(source) for source in body["sources"]),
        policy_sha256=str(policy.get("sha256", "")),
        files={str(name): str(text) for name, text in (policy.get("files") or {}).items()},
        tools={str(name): str(text) for name, text in (body.get("tools") or {}).items()},
        rules={str(name): str(text) for name, text in (policy.get("rules") or {}).items()},
        earned=_earned(body.get("earned") or {}, str(body["run"])),
    )
    _check_names(manifest)
    _check_values(manifest)
    if body.get("point") != manifest.point:
        raise ValueError(f"point {body.get('point')!r} does not agree with {manifest.point!r}")
    return manifest


def _earned(body: Mapping[str, Any], before: str) -> dict[str, dict[str, dict[str, str]]]:
    """Read what runs earned before this one: nobody vouches for himself."""
    return {
        str(repository): {
            str(run): {str(source): str(word) for source, word in states.items()}
            for run, states in runs.items()
            if run < before
        }
        for repository, runs in body.items()
    }


def _check_names(manifest: Manifest) -> None:
    """Refuse what our own program never writes: such a manifest was forged, and its names would become paths."""
    names = [manifest.service, manifest.tier, *(source.name for source in manifest.sources)]
    if wrong := next((name for name in names if not is_name(name)), None):
        raise ValueError(f"{wrong!r} is no name")
    if not is_run_id(manifest.run):
        raise ValueError(f"{manifest.run!r} is no run")
    for item in (item for source in manifest.sources for item in source.items):
        if item.part not in _PARTS or not _EXTENSION.fullmatch(item.extension):
            raise ValueError(f"item {item.name!r} has part {item.part!r} and extension {item.extension!r}")
        if item.part != "paths" and not _DIGEST.fullmatch(item.sha256 or ""):
            raise ValueError(f"item {item.name!r} has digest {item.sha256!r}")


def _check_values(manifest: Manifest) -> None:
    """Refuse what a catalog could not hold, or nobody could show: one such manifest must not stop those beside it."""
    items = [item for source in manifest.sources for item in source.items]
    if wrong := next((source.state for source in manifest.sources if source.state not in _STATES), None):
        raise ValueError(f"{wrong!r} is no state of a source")
    if len({source.name for source in manifest.sources}) < len(manifest.sources):
        raise ValueError("it names a source twice")
    if any(item.bytes < 0 or not 0 <= item.seconds < math.inf for item in items):
        raise ValueError("a size or duration is below zero or no number")
    if sum(item.bytes for item in items) > _MOST or any(abs(n) > _MOST for item in items for n in item.counts.values()):
        raise ValueError("a number is too large")
    texts = [manifest.host, manifest.machine, manifest.result, manifest.policy_sha256]
    texts += [source.engine for source in manifest.sources]
    texts += [text for item in items for text in (item.snapshot, item.role, item.sha256 or "")]
    "".join(texts).encode()  # raises for what is no text


def _source(body: Mapping[str, Any]) -> ManifestSource:
    return ManifestSource(
        name=str(body["name"]),
        engine=str(body["engine"]),
        state=str(body["state"]),
        items=tuple(_item(item) for item in body.get("items") or ()),
        error=str(body.get("error") or ""),
        server={str(key): str(value) for key, value in (body.get("server") or {}).items()},
    )


def _item(body: Mapping[str, Any]) -> ManifestItem:
    return ManifestItem(
        name=str(body["name"]),
        part=str(body["part"]),
        path=str(body["path"]),
        bytes=int(body["bytes"]),
        sha256=None if body.get("sha256") is None else str(body["sha256"]),
        snapshot=str(body.get("snapshot") or ""),
        tree=None if body.get("tree") is None else str(body["tree"]),
        role=str(body.get("role") or "data"),
        extension=str(body.get("extension") or ""),
        seconds=float(body.get("seconds") or 0),
        counts={str(name): int(count) for name, count in (body.get("counts") or {}).items()},
        counts_exact=bool(body.get("counts_exact")),
        as_of=_time(body["as_of"]) if body.get("as_of") else None,
        owner=Owner.read(body.get("owner")),
    )


def _time(text: object) -> datetime:
    time = datetime.fromisoformat(str(text)).astimezone(UTC)
    if not _FROM <= time < _TO:
        raise ValueError(f"{text!r} is out of range")
    return time
