"""A repository in memory, and a toolbox around it with a real catalog and policy: use cases without processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from orchestrator import engines
from orchestrator.adapters.catalog import SqliteCatalog
from orchestrator.model.engine import Source
from orchestrator.model.errors import DataDamaged
from orchestrator.model.manifest import Manifest, ManifestItem, ManifestSource, encode
from orchestrator.model.record import Event
from orchestrator.model.repository import ForgetEnd, Snapshot, SnapshotTags
from orchestrator.policy import load
from orchestrator.runs.toolbox import Toolbox

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
POLICY = """\
version: 1
host: hub-01
repositories:
  local: {{url: /nowhere, password: {{env: NONE}}}}
retention:
  default: {rules}
"""


@dataclass
class MemoryRepository:
    """What was stored, by restic ID; `reads` are the manifests that were asked for · config: its fingerprint."""

    name: str = "local"
    stored: dict[str, Snapshot] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    config: str | None = None

    def store(self, manifest: Manifest) -> str:
        """Store a point as a backup does: its data, then its commit; return the commit's ID."""
        commit = self.add(manifest, "commit")
        self.add(manifest, "dumps")
        self.manifests[commit] = encode(manifest)
        return commit

    def add(self, manifest: Manifest, part: Any) -> str:
        tags = SnapshotTags(manifest.service, manifest.tier, manifest.run, part)
        snapshot = Snapshot(f"{part}-{manifest.point}", manifest.time, "", "hub-01", (), tags.render())
        self.stored[snapshot.id] = snapshot
        return snapshot.id

    def fingerprint(self) -> str | None:
        return self.config

    def describe(self) -> str:
        return "/nowhere"

    def snapshots(self, undo: object) -> list[Snapshot]:
        return list(self.stored.values())

    def read(self, snapshot: str, path: str, undo: object, *, limit: int) -> bytes:
        self.reads.append(snapshot)
        if snapshot not in self.manifests:
            raise DataDamaged(f"{snapshot} cannot be read")
        return self.manifests[snapshot]

    def forget(self, ids: Sequence[str], undo: object, *, then: Sequence[str] = ()) -> ForgetEnd:
        gone = tuple(each for each in (*ids, *then) if self.stored.pop(each, None))
        return ForgetEnd(removed=gone)

    def prune(self, undo: object) -> None:
        """Nothing has a size here."""


def manifest_of(age: float, service: str = "shop", rules: str = "") -> Manifest:
    """Return the manifest of a point that is `age` days old; rules: those that had run last by then."""
    time = NOW - timedelta(days=age)
    run = f"{time:%Y%m%dT%H%M%SZ}-{abs(hash(service)) % 0xFFFFFF:06x}"
    item = ManifestItem("all", "dumps", "/main.all.db", 10, "ab" * 32, f"dumps-{service}.default@{run}")
    return Manifest(
        host="hub-01",
        machine="machine",
        service=service,
        tier="default",
        run=run,
        time=time,
        ended=time,
        result="whole",
        sources=(ManifestSource("main", "sqlite", "taken", (item,)),),
        rules={"local": rules} if rules else {},
    )


OPENED: list[SqliteCatalog] = []  # closed when the test is over (see conftest.py)


def _catalog(path: Path) -> SqliteCatalog:
    OPENED.append(SqliteCatalog(str(path)))
    return OPENED[-1]


class _Undo:
    problems: Sequence[str] = ()

    def close(self) -> None:
        """Nothing was done."""


@contextmanager
def _no_lock(wait: float) -> Iterator[None]:
    yield


def toolbox(
    folder: Path,
    repository: object,
    *,
    rules: str = "{last: 3}",
    services: Sequence[str] = ("shop",),
    policy: str = POLICY,
) -> Toolbox:
    """Return the ports over a repository, with the catalog in `folder` (kept from one toolbox to the next)."""
    (folder / "policy.yml").write_text(policy.format(rules=rules))
    entries = "".join(f"  {name}: {{paths: [/nothing]}}\n" for name in services)
    (folder / "services.yml").write_text(f"services:\n{entries}")
    config = load(str(folder / "policy.yml"), engines.Options())
    none = cast("Any", None)
    events: list[Event] = []
    return Toolbox(
        config=config,
        engines={},
        at=lambda _source: none,
        repositories=cast("Any", {"local": repository}),
        catalog=_catalog(folder / "state" / "catalog.db"),
        notifier=none,
        open_intake=none,
        stage=none,
        lock=_no_lock,
        open_undo=cast("Any", lambda _run, _also: _Undo()),
        here=none,
        clock=lambda: NOW,
        token=lambda: "abcdef",
        log=events.append,
        progress=none,
        sources=tuple(Source(name, "main", "sqlite", "default", 1.0, None, none) for name in services),
        no_secret=none,
        dead=tuple,
        unlock_stale=none,
    )
