"""Learn from the repository what the catalog does not know; the catalog is a mirror, the repository the truth."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from orchestrator.model.execution import Undo
from orchestrator.model.manifest import Manifest
from orchestrator.model.names import point_id
from orchestrator.model.point import Point
from orchestrator.model.record import Event
from orchestrator.model.repository import Repository
from orchestrator.planning.listing import Listing, Place, sort
from orchestrator.runs import identity, proofs, rules
from orchestrator.runs.mirror import find_again, mirror, missing
from orchestrator.runs.toolbox import Toolbox

LOST = 'is the right disk mounted? see docs/disaster-recovery.md, "Restore points are gone"'


@dataclass(frozen=True)
class Learned:
    """What a look at a repository brought.

    points: those of this host that the listing can speak of: known before it was made, or learnt from it · added: the
    IDs that were new · broken: commits that are no point, and why.
    """

    listing: Listing
    points: tuple[Point, ...]
    added: tuple[str, ...]
    broken: tuple[tuple[str, str], ...]


def newest(box: Toolbox, repository: Repository, undo: Undo) -> Manifest | None:
    """Return the newest manifest of this policy's host; the repository is asked when it was never listed for it."""
    host = box.config.policy.host
    known = box.catalog.newest_manifest(repository.name, host=host)
    if known or box.catalog.get(_listed(repository)) == host:
        return known
    meet(box, repository, undo)
    return box.catalog.newest_manifest(repository.name, host=host)


def mark_listed(box: Toolbox, repository: Repository) -> None:
    """Note that the repository was listed, and for which host: under another name there is another past."""
    box.catalog.mark_seen(repository.name, box.clock())
    box.catalog.put(_listed(repository), box.config.policy.host)


def _listed(repository: Repository) -> str:
    return f"listed.{repository.name}"


def meet(box: Toolbox, repository: Repository, undo: Undo) -> None:
    """Learn the newest restore point of a repository that this catalog has never seen: whose it is, and its age.

    The rest is learnt when retention or `catalog rebuild` asks for it: each manifest costs a restic process.
    """
    listing = sort(repository.snapshots(undo))
    for place, commit in sorted(listing.commits.items(), key=lambda found: found[1].time, reverse=True):
        found = mirror(box, repository, place, commit, listing, undo)
        if isinstance(found, Manifest):
            proofs.adopt(box, repository, [found])
            break
    rules.adopt(box, repository)
    mark_listed(box, repository)
    identity.trust(box, repository)


def learn(box: Toolbox, repository: Repository, undo: Undo, *, again: bool = False, judge: bool = True) -> Learned:
    """List the repository; read the manifest of every commit that the catalog does not know and mirror it.

    A commit whose snapshots are not all there, or are not those that were committed, is no restore point: it is
    reported as broken, with one event, and read once more only when its snapshots or the program changed, or `again`.
    judge: note what the listing lacks (flags, events, points that are gone), which only the holder of the run lock may:
    without the lock, a listing may be older than the catalog.
    """
    never = box.catalog.seen(repository.name) is None
    # The points first: what is committed after this is in no listing that was made before it.
    before = _known(box, repository)
    listing = sort(repository.snapshots(undo))
    find_again(box, repository, before, listing, undo, again=again)
    ids = {point.id for point in before}
    before = [point for point in _known(box, repository) if point.id in ids]
    if judge:
        kept = settle(box, repository, before, listing.ids)
        _flag_lost(box, repository, kept, listing.ids)
        if not kept or any(point.snapshots["commit"] in listing.ids for point in kept):
            identity.trust(box, repository)
        else:
            identity.doubt(box, repository)
    added, broken = _read_new(box, repository, before, listing, undo, again=again)
    proofs.adopt(box, repository, added, all_known=True)
    if judge:
        _tell_broken(box, repository, listing, broken)
    if never:
        rules.adopt(box, repository)
    mark_listed(box, repository)
    ids |= {manifest.point for manifest in added}
    return Learned(
        listing,
        tuple(_as_listed(box, repository, ids, listing)),
        tuple(manifest.point for manifest in added),
        tuple((point_id(*place), why) for place, why in broken.items()),
    )


def _known(box: Toolbox, repository: Repository) -> list[Point]:
    return box.catalog.points(repository=repository.name, host=box.config.policy.host, items=False)


def _as_listed(box: Toolbox, repository: Repository, ids: Collection[str], listing: Listing) -> Iterator[Point]:
    """Yield the points with these IDs as a listing shows them: without those that retention took away itself."""
    listed = listing.ids
    gone = going(box, repository) - listed  # before the points: their rows go before the marks do
    for point in _known(box, repository):
        if point.id in ids and point.snapshots["commit"] not in gone:
            lost = bool(missing(point, listed))
            yield replace(point, damaged=point.damaged or lost, lost=lost)


def going(box: Toolbox, repository: Repository) -> set[str]:
    """Return the restic IDs that retention set out to forget, and of which it is not proved yet whether they went."""
    return set(json.loads(box.catalog.get(_going(repository)) or "[]"))


def mark_going(box: Toolbox, repository: Repository, ids: Sequence[str]) -> None:
    """Note what is about to be forgotten, so that what a killed run removed is not taken for a loss."""
    box.catalog.put(_going(repository), json.dumps(list(ids)))


def settle(box: Toolbox, repository: Repository, points: Sequence[Point], listed: Collection[str]) -> list[Point]:
    """Remove those points from the catalog that were to be forgotten and whose commits are no longer listed.

    The others stay, without that mark; return them.
    """
    gone = going(box, repository) - set(listed)
    with box.catalog.batch():
        for point in points:
            if point.snapshots["commit"] in gone:
                box.catalog.remove_point(point.id, repository.name)
        box.catalog.put(_going(repository), "")
    return [point for point in points if point.snapshots["commit"] not in gone]


def finish_forgetting(box: Toolbox, repository: Repository) -> None:
    """List a repository in which a run was cut off while it forgot, so that the catalog shows what is there.

    Asks no repository otherwise. Raises what a listing raises; the next one does this too.
    """
    if going(box, repository):
        with box.looking() as undo:
            settle(box, repository, _known(box, repository), sort(repository.snapshots(undo)).ids)


def _going(repository: Repository) -> str:
    return f"forget.pending.{repository.name}"


def _read_new(
    box: Toolbox, repository: Repository, before: Sequence[Point], listing: Listing, undo: Undo, *, again: bool
) -> tuple[list[Manifest], dict[Place, str]]:
    """Mirror every listed commit that is not known; return their manifests, and why others are no restore point."""
    known = {(point.service, point.tier, point.run) for point in before}
    unknown = [place for place in listing.commits if place not in known]
    remembered = {} if again else _remembered(box, repository)
    broken = {place: why for place in unknown if (why := remembered.get(_sign(box, listing, place)))}
    fresh = [place for place in unknown if place not in broken]
    with ThreadPoolExecutor(max(1, box.config.policy.parallel), thread_name_prefix="learn") as pool:
        read = list(
            pool.map(lambda place: mirror(box, repository, place, listing.commits[place], listing, undo), fresh)
        )
    broken |= {place: found for place, found in zip(fresh, read, strict=True) if isinstance(found, str)}
    return [found for found in read if isinstance(found, Manifest)], broken


def _tell_broken(box: Toolbox, repository: Repository, listing: Listing, broken: Mapping[Place, str]) -> None:
    """Tell of each broken commit once, and keep the verdicts for the next listing."""
    remembered = _remembered(box, repository)
    signed = {_sign(box, listing, place): (place, why) for place, why in broken.items()}
    for place, why in (told for sign, told in signed.items() if sign not in remembered):
        message = f"{point_id(*place)} is not a restore point: {why}"
        box.tell(Event(box.clock(), "point.broken", "warning", message, repository=repository.name))
    box.catalog.put(_memory(repository), json.dumps({sign: why for sign, (_, why) in signed.items()}))


def _remembered(box: Toolbox, repository: Repository) -> dict[str, str]:
    return dict(json.loads(box.catalog.get(_memory(repository)) or "{}"))


def _memory(repository: Repository) -> str:
    return f"broken.{repository.name}"


def _sign(box: Toolbox, listing: Listing, place: Place) -> str:
    """Return what the verdict over a commit depends on: its snapshots, and the program that read them."""
    parts = sorted(part.id for part in listing.parts.get(place, ()))
    text = " ".join((box.tools.get("resguardo", ""), listing.commits[place].id, *parts))
    return hashlib.sha256(text.encode()).hexdigest()


def _flag_lost(box: Toolbox, repository: Repository, points: Sequence[Point], listed: Collection[str]) -> None:
    """Flag known points whose snapshots are not all there any more: they must not be listed as if they were good.

    A point whose snapshots are all listed (again) loses that flag; damage that was read in it stays.
    """
    lost = []
    with box.catalog.batch():
        for point in points:
            gone = bool(missing(point, listed))
            if gone != point.lost:
                box.catalog.set_missing(point.id, repository.name, missing=gone)
                lost += [point] if gone else []
    if lost:
        message = identity.lost_words(repository.name, [point.id for point in lost])
        service = lost[0].service if len({point.service for point in lost}) == 1 else ""
        event = Event(box.clock(), "point.lost", "failed", message, service=service, repository=repository.name)
        box.tell(replace(event, hint=identity.OTHER if identity.changed(box, repository) else LOST))


@dataclass(frozen=True)
class Rebuilt:
    """What `catalog rebuild` brought: the IDs of points that were new, (point, why) of commits that are none, and how
    many points of this host the catalog knows now · lost: the IDs of those that their repository no longer lists.
    """

    added: tuple[str, ...]
    broken: tuple[tuple[str, str], ...]
    known: int
    lost: tuple[str, ...] = ()


def rebuild_all(box: Toolbox) -> Rebuilt:
    """Learn what every repository holds."""
    added: list[str] = []
    broken: list[tuple[str, str]] = []
    with box.lock(0.0), box.looking() as undo:
        for repository in box.repositories.values():
            learned = learn(box, repository, undo, again=True)
            added += learned.added
            broken += learned.broken
    points = box.catalog.points(host=box.config.policy.host, items=False)
    lost = dict.fromkeys(point.id for point in points if point.lost)
    return Rebuilt(tuple(dict.fromkeys(added)), tuple(broken), len({point.id for point in points}), tuple(lost))
