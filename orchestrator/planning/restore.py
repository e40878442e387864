"""What a restore will do: chosen points in, ordered steps with their targets out. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from orchestrator.model.engine import Places
from orchestrator.model.errors import NoSuchPoint, UsageError
from orchestrator.model.names import RESTORING, encode_item, kept_name
from orchestrator.model.point import Point, PointItem, PointSource
from orchestrator.planning.select import distance

LONGEST_DATABASE = 63  # bytes of a PostgreSQL identifier; the shortest limit of the servers that we know
Mode = Literal["to", "as", "in-place"]


@dataclass(frozen=True)
class Where:
    """Where restored data goes.

    to: a directory · name: of a new database · in_place: swapped with the original · globals: create roles that the
    server lacks, too · picks: not whole sources, but chosen files.
    """

    to: str = ""
    name: str = ""
    in_place: bool = False
    globals: bool = False
    picks: bool = False


@dataclass(frozen=True)
class Living:
    """What is known of a source as it is configured now. places: its engine restores to a file, to a folder or into a
    server · original: the live path or database of each item, where it is known · server: which one, of those that
    restore into one.
    """

    places: Places
    original: Mapping[str, str]
    server: str = ""


@dataclass(frozen=True)
class RestoreStep:
    """One item's way back. target: new path or database · original, kept: only in place · there: whether something
    stands in the original's place now; None when that is not known.
    """

    point: Point
    source: PointSource
    item: PointItem
    target: str
    original: str = ""
    kept: str = ""
    there: bool | None = None


@dataclass(frozen=True)
class RestorePlan:
    """All steps in order, and what to know before. picks: only some of the files, so that nobody knows how many."""

    service: str
    steps: tuple[RestoreStep, ...]
    notes: tuple[str, ...] = ()
    picks: bool = False

    @property
    def bytes(self) -> int:
        """Bytes that will be written; with picks at most these."""
        return sum(step.item.bytes for step in self.steps)

    @property
    def in_place(self) -> bool:
        """Whether anything is swapped."""
        return any(step.original for step in self.steps)


def plan_restore(
    service: str,
    chosen: Iterable[Point],
    sources: Sequence[str],
    where: Where,
    living: Mapping[str, Living],
    now: datetime,
    asked: datetime | None = None,
    databases: Sequence[str] = (),
) -> RestorePlan:
    """Order the items (globals, files, databases) and give each its target; databases: only these, if any are named.

    Raises NoSuchPoint, UsageError.
    """
    steps: list[RestoreStep] = []
    notes: list[str] = []
    for point in chosen:
        if asked:
            notes.append(f"{point.id} is {distance(asked - point.time)} before the time asked for")
        wanted = [source for source in point.sources if not sources or source.name in sources]
        for source, items in _with_databases(wanted, databases):
            if source.outcome != "taken":
                notes.append(_incomplete(point, source, where))
            for item in items:
                if item.role == "globals" and not where.globals:
                    notes.append(
                        f"{source.name}: users and roles of the server are left alone; --globals creates missing ones"
                    )
                    continue
                steps.append(_step(point, source, item, where, living, now))
    there = {step.item.name for step in steps if step.item.role == "data"}
    if absent := [name for name in databases if name not in there]:
        hint = "resguardo show POINT lists what one holds"
        raise NoSuchPoint(f"no restore point of {service} that was chosen holds the database {absent[0]!r}", hint)
    missing = [name for name in sources if name not in {step.source.name for step in steps}]
    if missing or not steps:
        what = f"source {missing[0]!r}" if missing else "anything"
        raise NoSuchPoint(f"no restore point of {service} holds {what}", "resguardo show POINT lists what one holds")
    notes += _answered(steps, where, living)
    _refuse_one_name(steps, living)
    steps.sort(key=lambda step: (step.item.role != "globals", step.item.part != "paths"))
    return RestorePlan(service, tuple(steps), tuple(dict.fromkeys(notes)), where.picks)


def _refuse_one_name(steps: Sequence[RestoreStep], living: Mapping[str, Living]) -> None:
    """Refuse to make one new database of two sources: several may hold parts of the same one. Raises UsageError."""
    made: dict[tuple[str, str], str] = {}
    for step in steps:
        name = step.source.name
        if step.item.role != "data" or _places(name, living) != "server":
            continue
        first = made.setdefault((living[name].server, step.target), name)
        if first != name:
            text = f"{first} and {name} both hold {step.item.name!r}, and would both be restored as {step.target!r}"
            raise UsageError(text, f"one at a time: --source {first}, or --source {name}")


def _with_databases(
    sources: Sequence[PointSource], names: Sequence[str]
) -> list[tuple[PointSource, Sequence[PointItem]]]:
    """Return sources with their items: those that hold databases of these names, and not their others; all without."""
    if not names:
        return [(source, source.items) for source in sources]

    def wanted(item: PointItem) -> bool:
        return item.role != "data" or (item.part != "paths" and item.name in names)

    held = [(source, [item for item in source.items if wanted(item)]) for source in sources]
    return [(source, items) for source, items in held if any(item.role == "data" for item in items)]


def _answered(steps: Sequence[RestoreStep], where: Where, living: Mapping[str, Living]) -> list[str]:
    """Refuse what would be ignored; say what concerns only a part. Raises UsageError."""
    data = [step for step in steps if step.item.role == "data"]
    if where.name and len(data) != 1:
        hint = "choose one with --source, and --database where a source holds several"
        raise UsageError("--as gives one name, but several databases would be restored", hint)
    inside = [step for step in data if _places(step.source.name, living) == "server"]
    outside = [step for step in data if _places(step.source.name, living) != "server"]
    if where.name and outside:
        raise UsageError(f"--as names a database on its server, and {outside[0].source.name} is a path", "say --to DIR")
    if where.to and inside and not outside:
        raise UsageError(
            f"--to gives a folder, and {inside[0].source.name} comes back on its own server",
            "say --as NAME for the new database's name, or leave out --to for one with the time in it",
        )
    if where.globals and not any(step.item.role == "globals" for step in steps):
        raise UsageError("--globals: what would be restored holds no users or roles of a server", "leave it out")
    picked = [step.source.name for step in data if step.item.part == "paths"]
    if where.picks and (others := [step for step in data if step.item.part != "paths"]):
        raise UsageError(
            f"--include and --exclude choose files, and {others[0].source.name} comes back whole",
            f"say --source {picked[0]}, or leave them out" if picked else "leave them out",
        )
    return [
        f"{step.source.name}: --to does not concern it, it comes back on its server as {step.target}"
        for step in inside
        if where.to
    ]


def _places(source: str, living: Mapping[str, Living]) -> Places:
    alive = living.get(source)
    return alive.places if alive else "path"


def _incomplete(point: Point, source: PointSource, where: Where) -> str:
    text = f"{source.name} is {source.outcome} in {point.id}: {source.error}"
    if where.in_place and source.items:
        raise UsageError(f"{text}; in place it would take away what it lacks", "restore it with --to or --as")
    return text


def _step(
    point: Point, source: PointSource, item: PointItem, where: Where, living: Mapping[str, Living], now: datetime
) -> RestoreStep:
    alive = living.get(source.name)
    original = alive.original.get(item.name, "") if alive else ""
    if _places(source.name, living) == "server":
        return _server_step(point, source, item, where, original or item.name, now)
    if where.in_place:
        if not original:
            raise UsageError(_placeless(source, item, alive), "restore it with --to DIR")
        folder, base = os.path.split(original.rstrip("/"))
        target = os.path.join(folder, f".{base}{RESTORING}{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
        return RestoreStep(point, source, item, target, original, kept_name(original.rstrip("/"), now))
    if not where.to:
        raise UsageError(f"{source.name} goes to a path, and none is given", "say --to DIR or --in-place")
    # Names in a manifest are checked when it is read; that they stay below the target is checked here once more.
    if item.part == "paths" or (_places(source.name, living) == "folder" and item.role == "data"):
        return RestoreStep(point, source, item, _below(where.to, source.name))
    name = f"{source.name}{_item_part(source, item)}.{item.extension}"
    return RestoreStep(point, source, item, _below(where.to, name))


def _placeless(source: PointSource, item: PointItem, alive: Living | None) -> str:
    if alive is None:
        return f"{source.name} is not in services.yml any more: it has no place"
    if item.role == "globals":
        return f"{source.name}: --globals creates what a running server lacks, and in place it is stopped"
    return f"{source.name}: services.yml does not tell the folder that --in-place would replace"


def _below(folder: str, name: str) -> str:
    path = os.path.normpath(os.path.join(folder, name))
    if os.path.dirname(path) != os.path.normpath(folder):
        raise UsageError(f"{name!r} would be restored outside of {folder}", "this restore point was tampered with")
    return path


def _item_part(source: PointSource, item: PointItem) -> str:
    return "" if len(source.items) == 1 else f".{encode_item(item.name)}"


def _server_step(
    point: Point, source: PointSource, item: PointItem, where: Where, original: str, now: datetime
) -> RestoreStep:
    if item.role == "globals":
        return RestoreStep(point, source, item, item.name)
    stamp = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    target = where.name or f"{_cut(original, f'_restored_{stamp}')}_restored_{stamp}"
    if not where.in_place:
        return RestoreStep(point, source, item, target)
    kept = kept_name(_cut(original, f"_before_{stamp}"), now)
    return RestoreStep(point, source, item, target, original, kept)


def _cut(name: str, suffix: str) -> str:
    return name.encode()[: LONGEST_DATABASE - len(suffix)].decode(errors="ignore")
