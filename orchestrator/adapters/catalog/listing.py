"""Restore points read back: one Point per point and repository, built from five queries whatever their number."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from orchestrator.adapters.catalog.codec import (
    instant,
    instant_or_none,
    micros,
    owner_or_none,
    text,
    text_or_none,
    unpack,
)
from orchestrator.adapters.catalog.database import Database
from orchestrator.model.manifest import Manifest, ManifestItem, ManifestSource
from orchestrator.model.point import Point, PointItem, PointSource, State

# One SQL text for every question: a NULL parameter means "any".
_WANTED = "(:service IS NULL OR p.service = :service) AND (:host IS NULL OR p.host = :host)"
_HERE = "(:repository IS NULL OR r.name = :repository)"

_POINTS = f"""
SELECT p.id, r.id, p.service, p.tier, p.run, p.time, p.ended, r.name, p.host, p.partial,
 EXISTS (SELECT 1 FROM damage d WHERE d.point = p.id AND d.repository = r.id),
 EXISTS (SELECT 1 FROM damage d WHERE d.point = p.id AND d.repository = r.id AND d.cause = 'missing')
FROM point p JOIN snapshot n ON n.point = p.id AND n.part = 'commit' JOIN repository r ON r.id = n.repository
WHERE {_WANTED} AND {_HERE} ORDER BY p.time DESC, p.service, p.tier, p.run, r.name
"""  # noqa: S608  (constants of this module only)
_SNAPSHOTS = f"""
SELECT n.point, n.repository, n.part, n.restic_id
FROM snapshot n JOIN point p ON p.id = n.point JOIN repository r ON r.id = n.repository WHERE {_WANTED} AND {_HERE}
"""  # noqa: S608
_SOURCES = f"""
SELECT s.point, s.id, s.name, s.engine, s.outcome, s.error, s.state, s.bytes
FROM source s JOIN point p ON p.id = s.point WHERE {_WANTED} ORDER BY s.id
"""  # noqa: S608
_EARNED = f"""
SELECT e.source, e.repository, e.state
FROM earned e JOIN source s ON s.id = e.source JOIN point p ON p.id = s.point WHERE {_WANTED}
"""  # noqa: S608
_ITEMS = f"""
SELECT i.source, i.slot, i.hint, i.name, i.part, i.path, i.bytes, i.sha256, i.role, i.extension, i.counts,
 i.owner
FROM item i JOIN source s ON s.id = i.source JOIN point p ON p.id = s.point WHERE {_WANTED} ORDER BY i.id
"""  # noqa: S608

Groups = dict[int, list[Any]]
Earned = dict[tuple[int, int], int]  # source and repository → state


class PointReader:
    """The reading half of restore points."""

    _db: Database

    def points(
        self,
        *,
        repository: str | None = None,
        service: str | None = None,
        host: str | None = None,
        items: bool = True,
    ) -> list[Point]:
        """All points, newest first, one per repository that holds it. `retired` is left False.

        items=False leaves the sources' `items` empty: three times as fast, enough for retention and status.
        """
        wanted = {"repository": repository, "service": service, "host": host}
        with self._db.reading():
            points = self._db.rows(_POINTS, wanted)
            snapshots: dict[tuple[int, int], dict[str, str]] = {}
            for point, place, part, restic in self._db.rows(_SNAPSHOTS, wanted):
                snapshots.setdefault((point, place), {})[text(part)] = restic
            sources = _grouped(self._db.rows(_SOURCES, wanted))
            earned = {(source, place): state for source, place, state in self._db.rows(_EARNED, wanted)}
            stored = _grouped(self._db.rows(_ITEMS, wanted)) if items else {}
        return [_point(row, snapshots[row[0], row[1]], sources.get(row[0], ()), earned, stored) for row in points]

    def newest_manifest(self, repository: str, *, host: str | None = None) -> Manifest | None:
        """The manifest committed last, or None when the catalog knows none of this repository (and host)."""
        with self._db.reading():
            row = self._db.row(
                "SELECT p.id, p.host, p.machine, p.service, p.tier, p.run, p.time, p.ended, p.result, p.tools,"
                " y.sha256, y.files, y.rules FROM point p JOIN policy y ON y.id = p.policy"
                " JOIN snapshot n ON n.point = p.id AND n.part = 'commit' JOIN repository r ON r.id = n.repository"
                " WHERE r.name = :repository AND (:host IS NULL OR p.host = :host)"
                " ORDER BY p.ended DESC, p.id DESC LIMIT 1",
                {"repository": repository, "host": host},
            )
            return None if row is None else _manifest(row, self._manifest_sources(row[0]))

    def _manifest_sources(self, point: int) -> tuple[ManifestSource, ...]:
        sources = self._db.rows(
            "SELECT id, name, engine, outcome, error, server FROM source WHERE point = ? ORDER BY id", (point,)
        )
        items = _grouped(
            self._db.rows(
                "SELECT i.source, i.name, i.part, i.path, i.bytes, i.sha256, i.hint, i.tree, i.role, i.extension,"
                " i.seconds, i.counts, i.counts_exact, i.as_of, i.owner"
                " FROM item i JOIN source s ON s.id = i.source WHERE s.point = ? ORDER BY i.id",
                (point,),
            )
        )
        return tuple(
            ManifestSource(
                name, engine, outcome, tuple(map(_manifest_item, items.get(number, ()))), text(error), unpack(server)
            )
            for number, name, engine, outcome, error, server in sources
        )

    def paths_snapshot(self, service: str, tier: str, repository: str) -> str | None:
        """restic ID of the newest `paths` snapshot, as parent."""
        row = self._db.row(
            "SELECT n.restic_id FROM snapshot n JOIN point p ON p.id = n.point JOIN repository r ON r.id = n.repository"
            " WHERE p.service = ? AND p.tier = ? AND r.name = ? AND n.part = 'paths' ORDER BY p.time DESC LIMIT 1",
            (service, tier, repository),
        )
        return None if row is None else str(row[0])

    def policies(self, repository: str, *, host: str | None = None) -> set[str]:
        """Every text of policy.yml under which a known point of this repository (and host) was made; "" for none."""
        rows = self._db.rows(
            "SELECT DISTINCT y.files FROM point p JOIN policy y ON y.id = p.policy"
            " JOIN snapshot n ON n.point = p.id AND n.part = 'commit' JOIN repository r ON r.id = n.repository"
            " WHERE r.name = :repository AND (:host IS NULL OR p.host = :host)",
            {"repository": repository, "host": host},
        )
        return {json.loads(files).get("policy.yml", "") for (files,) in rows}

    def seen(self, repository: str) -> datetime | None:
        """When the repository was last listed."""
        row = self._db.row("SELECT seen FROM repository WHERE name = ?", (repository,))
        return None if row is None else instant_or_none(row[0])

    def mark_seen(self, repository: str, when: datetime) -> None:
        """Note that the repository was listed."""
        with self._db.writing() as connection:
            connection.execute("INSERT OR IGNORE INTO repository (name) VALUES (?)", (repository,))
            connection.execute("UPDATE repository SET seen = ? WHERE name = ?", (micros(when), repository))


def _grouped(rows: list[Any]) -> Groups:
    """Group rows by their first column, keeping their order."""
    groups: Groups = {}
    for row in rows:
        groups.setdefault(row[0], []).append(row)
    return groups


def _point(row: Any, snapshots: Mapping[str, str], rows: Any, earned: Earned, stored: Groups) -> Point:
    _, place, service, tier, run, time, ended, repository, host, partial, damaged, lost = row
    sources = tuple(
        [_source(source, max(source[6], earned.get((source[1], place), 0)), stored, snapshots.get) for source in rows]
    )
    return Point(
        service=service,
        tier=tier,
        run=run,
        time=instant(time),
        ended=instant(ended),
        state=min((source.state for source in sources), default=State.COMMITTED),
        repository=repository,
        partial=bool(partial),
        damaged=bool(damaged),
        lost=bool(lost),
        sources=sources,
        snapshots=snapshots,
        bytes=sum(source[7] for source in rows),
        host=host,
    )


def _source(row: Any, state: int, stored: Groups, snapshot: Callable[[str, str], str]) -> PointSource:
    _, number, name, engine, outcome, error, _, _ = row
    items = tuple([_item(item, snapshot) for item in stored.get(number, ())])
    return PointSource(name, engine, outcome, items, text(error), State(state))


def _item(row: Any, snapshot: Callable[[str, str], str]) -> PointItem:
    _, slot, hint, name, part, path, size, sha256, role, extension, counts, owner = row
    restic = snapshot(text(slot), hint)
    return PointItem(
        text(name), part, restic, text(path), size, sha256, role, extension, unpack(counts), owner_or_none(owner)
    )


def _manifest(row: Any, sources: tuple[ManifestSource, ...]) -> Manifest:
    _, host, machine, service, tier, run, time, ended, result, tools, sha256, files, rules = row
    return Manifest(
        host=host,
        machine=machine,
        service=service,
        tier=tier,
        run=run,
        time=instant(time),
        ended=instant(ended),
        result=result,
        sources=sources,
        policy_sha256=sha256,
        files=json.loads(files),
        tools=unpack(tools),
        rules=unpack(rules),
    )


def _manifest_item(row: Any) -> ManifestItem:
    _, name, part, path, size, sha256, hint, tree, role, extension, seconds, counts, exact, as_of, owner = row
    return ManifestItem(
        name=text(name),
        part=part,
        path=text(path),
        bytes=size,
        sha256=sha256,
        snapshot=hint,
        tree=text_or_none(tree),
        role=role,
        extension=extension,
        seconds=seconds,
        counts=unpack(counts),
        counts_exact=bool(exact),
        as_of=instant_or_none(as_of),
        owner=owner_or_none(owner),
    )
