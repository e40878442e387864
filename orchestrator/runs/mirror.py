"""Mirror what a repository lists into the catalog, commit by commit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from orchestrator.model.errors import DataDamaged
from orchestrator.model.execution import Undo
from orchestrator.model.manifest import LIMIT, Manifest, decode
from orchestrator.model.names import MANIFEST_FILE
from orchestrator.model.point import Point
from orchestrator.model.repository import Repository, Snapshot
from orchestrator.planning.listing import Listing, Place, match, may_hold
from orchestrator.runs.toolbox import Toolbox


def find_again(
    box: Toolbox, repository: Repository, known: Sequence[Point], listing: Listing, undo: Undo, *, again: bool
) -> None:
    """Mirror known points once more whose snapshots have other restic IDs now, as `restic copy` and `tag` give them.

    The manifest decides, by what restic notes as the original. again: every point that is listed, and not only those
    that lack something which may be there.
    """
    listed = listing.ids
    moved = []
    for point in known:
        place = (point.service, point.tier, point.run)
        lacks = missing(point, listed) and may_hold(listing.parts.get(place, ()), point.snapshots)
        if place in listing.commits and (again or lacks):
            moved.append(place)
    with ThreadPoolExecutor(max(1, box.config.policy.parallel), thread_name_prefix="learn") as pool:
        list(pool.map(lambda place: mirror(box, repository, place, listing.commits[place], listing, undo), moved))


def missing(point: Point, listed: Collection[str]) -> list[str]:
    """Return the parts of a point that a listing lacks."""
    return [part for part, snapshot in point.snapshots.items() if snapshot not in listed]


def mirror(
    box: Toolbox, repository: Repository, place: Place, commit: Snapshot, listing: Listing, undo: Undo
) -> Manifest | str:
    """Read a commit and mirror it; return its manifest, or why it is no restore point."""
    try:
        manifest = read_manifest(repository, commit, place, undo)
    except DataDamaged as error:
        return error.message
    snapshots, problems = match(manifest, listing.parts.get(place, ()))
    if problems:
        return "; ".join(problems)
    box.catalog.add_point(manifest, repository.name, {**snapshots, "commit": commit.id}, commit.id)
    return manifest


def read_manifest(repository: Repository, commit: Snapshot, place: Place, undo: Undo) -> Manifest:
    """Read one commit's manifest. Raises DataDamaged, also when it speaks of another point than its tags."""
    manifest = decode(repository.read(commit.id, f"/{MANIFEST_FILE}", undo, limit=LIMIT))
    if (manifest.service, manifest.tier, manifest.run) != place:
        raise DataDamaged(f"its manifest is that of {manifest.point}", "somebody changed tags or copied snapshots")
    return manifest
