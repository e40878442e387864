"""Restore points as the catalog keeps them: mirrored from manifests, removed, raised in state."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict

from orchestrator.adapters.catalog.codec import bind, bind_or_none, micros, micros_or_none, pack
from orchestrator.adapters.catalog.database import Database
from orchestrator.model.errors import NoSuchPoint
from orchestrator.model.manifest import Manifest, ManifestItem, ManifestSource
from orchestrator.model.point import State
from orchestrator.planning.listing import part_key


class PointWriter:
    """The writing half of restore points."""

    _db: Database

    def add_point(self, manifest: Manifest, repository: str, snapshots: Mapping[str, str], commit: str) -> None:
        """Mirror one committed manifest; the same again changes nothing but the restic IDs of this repository.

        snapshots: part key (`paths`, `dumps`, `stream:<source>:<item>`) → restic ID in `repository`.
        """
        with self._db.writing() as connection:
            point = _find(connection, manifest.point)
            if point is None:
                point = _insert_point(connection, manifest)
            place = _repository(connection, repository)
            connection.execute("DELETE FROM snapshot WHERE point = ? AND repository = ?", (point, place))
            connection.executemany(
                "INSERT INTO snapshot (point, repository, part, restic_id) VALUES (?, ?, ?, ?)",
                [(point, place, bind(part), restic) for part, restic in {**snapshots, "commit": commit}.items()],
            )

    def remove_point(self, point: str, repository: str) -> None:
        """Forget a point that a repository no longer holds; once none holds it, all of it goes. Unknown: nothing."""
        with self._db.writing() as connection:
            place = (_find(connection, point), _repository(connection, repository))
            connection.execute("DELETE FROM snapshot WHERE point = ? AND repository = ?", place)
            connection.execute("DELETE FROM damage WHERE point = ? AND repository = ?", place)
            connection.execute(
                "DELETE FROM earned WHERE source IN (SELECT id FROM source WHERE point = ?) AND repository = ?", place
            )
            connection.execute(
                "DELETE FROM point WHERE id = ? AND NOT EXISTS (SELECT 1 FROM snapshot WHERE point = point.id)",
                place[:1],
            )
            connection.execute("DELETE FROM policy WHERE NOT EXISTS (SELECT 1 FROM point WHERE policy = policy.id)")

    def set_state(self, point: str, repository: str, source: str, state: State) -> None:
        """Raise the state that a point's source earned in a repository.

        It is never lowered, and a failed source's never raised. Raises NoSuchPoint.
        """
        with self._db.writing() as connection:
            found, place = _held(connection, point, repository)
            connection.execute(
                "INSERT INTO earned (source, repository, state) SELECT id, :place, :state FROM source"
                " WHERE point = :point AND outcome <> 'failed' AND name = :source"
                " ON CONFLICT DO UPDATE SET state = max(state, excluded.state)",
                {"state": int(state), "point": found, "place": place, "source": source},
            )

    def set_damaged(self, point: str, repository: str, *, damaged: bool) -> None:
        """Flag what reading a point found in a repository; a clean read takes every flag back. Raises NoSuchPoint."""
        with self._db.writing() as connection:
            held = _held(connection, point, repository)
            connection.execute("DELETE FROM damage WHERE point = ? AND repository = ?", held)
            if damaged:
                connection.execute("INSERT INTO damage (point, repository, cause) VALUES (?, ?, 'read')", held)

    def set_missing(self, point: str, repository: str, *, missing: bool) -> None:
        """Flag a point as damaged while a repository does not list all its snapshots. Raises NoSuchPoint."""
        with self._db.writing() as connection:
            held = _held(connection, point, repository)
            connection.execute("DELETE FROM damage WHERE point = ? AND repository = ? AND cause = 'missing'", held)
            if missing:
                connection.execute("INSERT INTO damage (point, repository, cause) VALUES (?, ?, 'missing')", held)


def _held(connection: sqlite3.Connection, point: str, repository: str) -> tuple[int, int]:
    """Return the numbers of a point and of the repository that holds it."""
    row = connection.execute(
        "SELECT n.point, n.repository FROM snapshot n JOIN repository r ON r.id = n.repository"
        " WHERE n.point = ? AND r.name = ? AND n.part = 'commit'",
        (_find(connection, point), repository),
    ).fetchone()
    if row is None:
        hint = "`resguardo list` shows those that there are"
        raise NoSuchPoint(f"the catalog knows no restore point {point} in repository {repository}", hint)
    return int(row[0]), int(row[1])


def _find(connection: sqlite3.Connection, point: str) -> int | None:
    """Find a point by its ID. Service and tier may hold dots, so the ID is compared and not taken apart."""
    run = point.rpartition("@")[2]
    row = connection.execute(
        "SELECT id FROM point WHERE run = ? AND service || '.' || tier || '@' || run = ?", (run, point)
    ).fetchone()
    return None if row is None else int(row[0])


def _repository(connection: sqlite3.Connection, name: str) -> int:
    connection.execute("INSERT OR IGNORE INTO repository (name) VALUES (?)", (name,))
    (number,) = connection.execute("SELECT id FROM repository WHERE name = ?", (name,)).fetchone()
    return int(number)


def _insert_point(connection: sqlite3.Connection, manifest: Manifest) -> int:
    partial = not manifest.whole
    values = (
        manifest.run,
        manifest.service,
        manifest.tier,
        manifest.host,
        manifest.machine,
        micros(manifest.time),
        micros(manifest.ended),
        manifest.result,
        partial,
        _policy(connection, manifest),
        pack(manifest.tools),
    )
    sql = (
        "INSERT INTO point (run, service, tier, host, machine, time, ended, result, partial, policy, tools)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    point = connection.execute(sql, values).lastrowid
    assert point is not None  # noqa: S101  (an INSERT that did not raise has a row ID)
    for source in manifest.sources:
        _insert_source(connection, point, source, partial=partial)
    return point


def _policy(connection: sqlite3.Connection, manifest: Manifest) -> int:
    files = json.dumps(dict(manifest.files), sort_keys=True)
    rules = pack(manifest.rules)
    digest = hashlib.sha256(f"{manifest.policy_sha256}\n{files}\n{rules}".encode()).hexdigest()
    connection.execute(
        "INSERT OR IGNORE INTO policy (digest, sha256, files, rules) VALUES (?, ?, ?, ?)",
        (digest, manifest.policy_sha256, files, rules),
    )
    (number,) = connection.execute("SELECT id FROM policy WHERE digest = ?", (digest,)).fetchone()
    return int(number)


def _first_state(outcome: str, *, partial: bool) -> State:
    """`committed` needs every source of the tier taken; in a partial point what is there is only `taken`."""
    if outcome == "failed":
        return State.FAILED
    return State.TAKEN if partial else State.COMMITTED


def _insert_source(connection: sqlite3.Connection, point: int, source: ManifestSource, *, partial: bool) -> None:
    state = int(_first_state(source.state, partial=partial))
    size = sum(item.bytes for item in source.items)
    number = connection.execute(
        "INSERT INTO source (point, name, engine, outcome, state, bytes, error, server)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (point, source.name, source.engine, source.state, state, size, bind(source.error), pack(source.server)),
    ).lastrowid
    connection.executemany(
        "INSERT INTO item (source, name, part, slot, hint, tree, path, bytes, sha256, role, extension, seconds, counts,"
        " counts_exact, as_of, owner) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(number, *_item_values(source.name, item)) for item in source.items],
    )


def _item_values(source: str, item: ManifestItem) -> tuple[object, ...]:
    return (
        bind(item.name),
        item.part,
        bind(part_key(source, item)),
        item.snapshot,
        bind_or_none(item.tree),
        bind(item.path),
        item.bytes,
        item.sha256,
        item.role,
        item.extension,
        item.seconds,
        pack(item.counts),
        item.counts_exact,
        micros_or_none(item.as_of),
        None if item.owner is None else pack(asdict(item.owner)),
    )
