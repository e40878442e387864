"""What a repository's listing says: commits, what they stand on, and snapshots that belong to none. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.model.manifest import Manifest, ManifestItem
from orchestrator.model.names import encode_item
from orchestrator.model.repository import Snapshot, SnapshotTags

Place = tuple[str, str, str]  # service, tier, run


@dataclass(frozen=True)
class Listing:
    """A repository's snapshots sorted by what they are.

    commits: place → its commit · parts: place → its other snapshots · foreign: not ours, or of an unknown version.
    """

    commits: Mapping[Place, Snapshot]
    parts: Mapping[Place, tuple[Snapshot, ...]]
    foreign: tuple[Snapshot, ...]

    @property
    def ids(self) -> set[str]:
        """Every restic ID of ours that is listed."""
        listed = {snapshot.id for snapshot in self.commits.values()}
        return listed | {snapshot.id for parts in self.parts.values() for snapshot in parts}


def sort(snapshots: Iterable[Snapshot]) -> Listing:
    """Sort a listing. Of two commits of one place (which only tampering makes) the older one counts."""
    commits: dict[Place, Snapshot] = {}
    parts: dict[Place, list[Snapshot]] = {}
    foreign = []
    for snapshot in sorted(snapshots, key=lambda found: found.time):
        tags = snapshot.ours
        if tags is None:
            foreign.append(snapshot)
            continue
        place = (tags.service, tags.tier, tags.run)
        if tags.part == "commit" and place not in commits:
            commits[place] = snapshot
        else:
            parts.setdefault(place, []).append(snapshot)
    return Listing(commits, {place: tuple(found) for place, found in parts.items()}, tuple(foreign))


def match(manifest: Manifest, parts: Sequence[Snapshot]) -> tuple[dict[str, str], list[str]]:
    """Find the snapshots that a manifest names; return (part key → restic ID) and what is missing or does not agree.

    A snapshot answers when its tags fit and it *is* the one that was written, by ID or, in a copy, by `original`.
    Part keys are `paths`, `dumps` and `stream:<source>:<item>`.
    """
    found: dict[str, str] = {}
    problems = []
    for source in manifest.sources:
        for item in source.items:
            key = part_key(source.name, item)
            candidates = [snapshot for snapshot in parts if _answers(snapshot.ours, source.name, item)]
            same = [snapshot for snapshot in candidates if item.snapshot in ("", snapshot.id, snapshot.original)]
            if same:
                found[key] = same[-1].id
            else:
                what = "is not the snapshot that was committed" if candidates else "is missing"
                problems.append(f"{source.name}/{item.name}: its snapshot {what}")
    return found, problems


def may_hold(parts: Sequence[Snapshot], keys: Iterable[str]) -> bool:
    """Whether the snapshots of a place may be those with these part keys, by their tags alone: worth a closer look."""
    wanted = Counter(key.partition(":")[0] for key in keys if key != "commit")
    return wanted <= Counter(part.ours.part for part in parts if part.ours)


def part_key(source: str, item: ManifestItem) -> str:
    """Return the key under which an item's snapshot is known."""
    return f"stream:{source}:{item.name}" if item.part == "stream" else item.part


def _answers(tags: SnapshotTags | None, source: str, item: ManifestItem) -> bool:
    if tags is None or tags.part != item.part:
        return False
    return item.part != "stream" or (tags.source == source and tags.item == encode_item(item.name))
