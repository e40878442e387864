"""Learn from the repository what the catalog does not know; the catalog is a mirror, the repository the truth."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from orchestrator.model.errors import DataDamaged
from orchestrator.model.execution import Undo
from orchestrator.model.manifest import LIMIT, Manifest, decode
from orchestrator.model.names import MANIFEST_FILE, point_id
from orchestrator.model.point import Point
from orchestrator.model.record import Event
from orchestrator.model.repository import Repository, Snapshot
from orchestrator.planning.listing import Listing, Place, match, sort
from orchestrator.runs.toolbox import Toolbox


@dataclass(frozen=True)
class Learned:
    """What a look at a repository brought: its listing, points that were new, and points that cannot stand."""

    listing: Listing
    added: tuple[str, ...]
    broken: tuple[tuple[str, str], ...]


def meet(box: Toolbox, repository: Repository, undo: Undo) -> None:
    """Learn the newest restore point of a repository that this catalog has never seen: whose it is, and its age.

    The rest is learnt when retention or `catalog rebuild` asks for it: each manifest costs a restic process.
    """
    listing = sort(repository.snapshots(undo))
    newest = max(listing.commits.items(), key=lambda found: found[1].time, default=None)
    if newest:
        _mirror(box, repository, *newest, listing, undo)
    box.catalog.mark_seen(repository.name, box.clock())


def learn(box: Toolbox, repository: Repository, undo: Undo) -> Learned:
    """List the repository; read the manifest of every commit that the catalog does not know and mirror it.

    A commit whose snapshots are not all there, or are not those that were committed, is no restore point: it is
    reported as broken, with an event.
    """
    listing = sort(repository.snapshots(undo))
    points = box.catalog.points(repository=repository.name, items=False)
    _flag_hollow(box, repository, points, listing)
    known = {(point.service, point.tier, point.run) for point in points}
    unknown = [place for place in listing.commits if place not in known]
    with ThreadPoolExecutor(max(1, box.config.policy.parallel), thread_name_prefix="learn") as pool:
        problems = list(
            pool.map(lambda place: _mirror(box, repository, place, listing.commits[place], listing, undo), unknown)
        )
    added = [point_id(*place) for place, problem in zip(unknown, problems, strict=True) if not problem]
    broken = [(point_id(*place), problem) for place, problem in zip(unknown, problems, strict=True) if problem]
    for point, problem in broken:
        message = f"{point} is not a restore point: {problem}"
        box.event(Event(box.clock(), "point.broken", "warning", message, repository=repository.name))
    box.catalog.mark_seen(repository.name, box.clock())
    return Learned(listing, tuple(added), tuple(broken))


def _flag_hollow(box: Toolbox, repository: Repository, points: Sequence[Point], listing: Listing) -> None:
    """Flag known points whose snapshots are not all there any more: they must not be listed as if they were good."""
    listed = listing.ids
    for point in points:
        missing = [part for part, snapshot in point.snapshots.items() if snapshot not in listed]
        if missing and not point.damaged:
            box.catalog.set_damaged(point.id, damaged=True)
            message = f"{point.id}: its snapshots are gone from repository {repository.name}: {', '.join(missing)}"
            hint = "somebody removed them without resguardo; see docs/disaster-recovery.md"
            box.event(Event(box.clock(), "point.damaged", "failed", message, service=point.service, hint=hint))


def _mirror(box: Toolbox, repository: Repository, place: Place, commit: Snapshot, listing: Listing, undo: Undo) -> str:
    try:
        manifest = read_manifest(repository, commit, place, undo)
    except DataDamaged as error:
        return error.message
    snapshots, problems = match(manifest, listing.parts.get(place, ()))
    if problems:
        return "; ".join(problems)
    box.catalog.add_point(manifest, repository.name, {**snapshots, "commit": commit.id}, commit.id)
    return ""


def read_manifest(repository: Repository, commit: Snapshot, place: Place, undo: Undo) -> Manifest:
    """Read one commit's manifest. Raises DataDamaged, also when it speaks of another point than its tags."""
    manifest = decode(repository.read(commit.id, f"/{MANIFEST_FILE}", undo, limit=LIMIT))
    if (manifest.service, manifest.tier, manifest.run) != place:
        raise DataDamaged(f"its manifest is that of {manifest.point}", "somebody changed tags or copied snapshots")
    return manifest


def rebuild_all(box: Toolbox) -> tuple[list[str], list[tuple[str, str]]]:
    """Learn what every repository holds; return the IDs of points that were new, and (point, why) that cannot stand."""
    added: list[str] = []
    broken: list[tuple[str, str]] = []
    with box.lock(0.0), box.looking() as undo:
        for repository in box.repositories.values():
            learned = learn(box, repository, undo)
            added += learned.added
            broken += learned.broken
    return added, broken
