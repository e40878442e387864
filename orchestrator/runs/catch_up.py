"""Before a restore chooses: what the repositories list by now, where the catalog is older than they are.

A state folder that was put back from a copy, or lost, knows nothing of what came after; snapshots that were copied
have other IDs. Only what the choice depends on is read: each manifest costs a restic process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.model.errors import Interrupted, ResguardoError
from orchestrator.model.execution import Undo
from orchestrator.model.manifest import Manifest
from orchestrator.model.names import point_id
from orchestrator.model.point import Point
from orchestrator.model.repository import Repository
from orchestrator.planning.listing import Listing, Place, sort
from orchestrator.planning.select import Choice
from orchestrator.report.units import count
from orchestrator.runs import proofs
from orchestrator.runs.mirror import find_again, mirror
from orchestrator.runs.toolbox import Toolbox


def catch_up(box: Toolbox, service: str, choice: Choice) -> tuple[str, ...]:
    """Mirror the service's points that the choice may fall on and that the catalog lacks; return what to say of it.

    A repository that cannot be listed is said and no reason to stop. Raises Interrupted.
    """
    notes: list[str] = []
    with box.looking() as undo:
        for repository in box.repositories.values():
            try:
                new = _learn(box, repository, service, choice, undo)
            except Interrupted:
                raise
            except ResguardoError as error:
                notes.append(
                    f"repository {repository.name} could not be listed, newer restore points may lie there:"
                    f" {error.message}"
                )
                continue
            if new:
                notes.append(
                    f"repository {repository.name} holds {count(new, 'restore point')} that this machine did not know"
                )
    return tuple(notes)


def _learn(box: Toolbox, repository: Repository, service: str, choice: Choice, undo: Undo) -> int:
    known = box.catalog.points(repository=repository.name, service=service, host=box.config.policy.host, items=False)
    listing = sort(repository.snapshots(undo))
    find_again(box, repository, known, listing, undo, again=False)
    learnt = [
        found
        for places in _unknown(listing, service, choice, known).values()
        for found in _newest(box, repository, listing, places, choice, undo)
    ]
    proofs.adopt(box, repository, learnt)
    return len(learnt)


def _unknown(listing: Listing, service: str, choice: Choice, known: Sequence[Point]) -> dict[str, list[Place]]:
    """Return, per tier, the commits that may be chosen and are not known, the newest first.

    Older ones than the newest known whole point that would be chosen are none of them. A run's ID begins with its time.
    """
    here = {(point.service, point.tier, point.run) for point in known}
    enough: dict[str, str] = {}
    for point in known:
        if point.whole and (choice.at is None or point.time <= choice.at):
            enough[point.tier] = max(point.run, enough.get(point.tier, ""))
    found: dict[str, list[Place]] = {}
    for place in sorted(listing.commits, key=lambda place: place[2], reverse=True):
        wished = point_id(*place).startswith(choice.point) or place[2].startswith(choice.point)
        if (
            place[0] == service
            and place not in here
            and wished
            and (choice.point or place[2] > enough.get(place[1], ""))
        ):
            found.setdefault(place[1], []).append(place)
    return found


def _newest(
    box: Toolbox, repository: Repository, listing: Listing, places: Sequence[Place], choice: Choice, undo: Undo
) -> Iterator[Manifest]:
    """Mirror one after the other until a whole point answers; a broken commit is told by the next listing."""
    for place in places:
        found = mirror(box, repository, place, listing.commits[place], listing, undo)
        if isinstance(found, Manifest):
            yield found
            if not choice.point and found.result == "whole" and (choice.at is None or found.time <= choice.at):
                return
