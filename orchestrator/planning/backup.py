"""What a backup will do: probed facts in, ordered steps with reasons out. Pure: looks at nothing, changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Literal

from orchestrator.model.engine import Facts, Item, PathSet, Source
from orchestrator.model.execution import Finding
from orchestrator.model.names import stored_name
from orchestrator.model.ports import SourceHistory

Route = Literal["paths", "staged", "stream"]
TroubleKind = Literal["", "unreachable", "rights", "tool", "found"]
SMALLEST_SHARE = 0.5  # a source under half of its usual size is worth a warning
# A dump that waited half of its time would have been over in half of it; for less than a few minutes no server minds.
WAITED_SHARE = 0.5
WAITED_LEAST = 300.0  # seconds


@dataclass(frozen=True)
class Trouble:
    """Why a source is not dumped: its message, what to do, and the exit code that it asks for (0: nobody wanted it).

    kind: what a probe met: no server there, rights or a tool missing, or something in what it found; "" anything else.
    """

    message: str
    hint: str | None
    exit_code: int
    kind: TroubleKind = ""


def skipped() -> Trouble:
    """Return why a source that the run was not asked for is not in its restore point, which is partial then."""
    return Trouble("not asked for in this run", None, 0)


@dataclass(frozen=True)
class Probed:
    """What was seen of one source. paths: per item, for engines that deliver paths, automatic excludes included."""

    source: Source
    facts: Facts | None = None
    trouble: Trouble | None = None
    paths: Mapping[str, PathSet] = field(default_factory=dict)
    history: SourceHistory | None = None


@dataclass(frozen=True)
class Limits:
    """What staging may take, in bytes. cap: one service's staging directory · small: the largest dump in it."""

    cap: int
    small: int


@dataclass(frozen=True)
class PlannedItem:
    """One item and the way it takes. stored: its flat file name (for paths: empty)."""

    item: Item
    route: Route
    stored: str
    paths: PathSet | None = None


@dataclass(frozen=True)
class PlannedSource:
    """One source: its items, or the trouble that keeps it from being dumped."""

    source: Source
    items: tuple[PlannedItem, ...]
    trouble: Trouble | None = None
    server: str = ""
    tool: str = ""
    findings: tuple[Finding, ...] = ()
    history: SourceHistory | None = None
    image: str = ""

    @property
    def wanted(self) -> bool:
        """Whether the run was asked for it."""
        return self.trouble is None or self.trouble.exit_code != 0

    @property
    def expected(self) -> int | None:
        """Bytes to expect: from history, else the probe's estimate."""
        if self.history:
            return self.history.bytes
        sizes = [planned.item.bytes for planned in self.items]
        return None if not sizes or None in sizes else sum(size or 0 for size in sizes)


@dataclass(frozen=True)
class PlannedPoint:
    """One service and tier: what becomes a restore point. parent: restic ID of its newest paths snapshot."""

    service: str
    tier: str
    sources: tuple[PlannedSource, ...]
    parent: str | None = None

    def items(self, route: Route) -> list[tuple[PlannedSource, PlannedItem]]:
        """Return the items that take this way, with their sources."""
        return [(source, item) for source in self.sources for item in source.items if item.route == route]

    @property
    def restic_processes(self) -> int:
        """How many restic processes it takes: one for paths, one for staged dumps, one a stream, one for the commit."""
        lanes = int(bool(self.items("paths"))) + int(bool(self.items("staged"))) + len(self.items("stream"))
        return lanes + 1 if lanes else 0


@dataclass(frozen=True)
class BackupPlan:
    """All that a backup would do in one repository. forget, check: why they are due, "" when they are not."""

    host: str
    repository: str
    points: tuple[PlannedPoint, ...]
    parallel: int
    forget: str = ""
    check: str = ""
    findings: tuple[Finding, ...] = ()


def plan_points(
    probed: Iterable[Probed], limits: Limits, parents: Mapping[tuple[str, str], str]
) -> tuple[PlannedPoint, ...]:
    """Group sources into restore points and choose each item's way."""
    ordered = sorted(probed, key=_place)
    return tuple(
        PlannedPoint(service, tier, _sources(list(group), limits), parents.get((service, tier)))
        for (service, tier), group in groupby(ordered, key=_place)
    )


def plan_source(probe: Probed) -> PlannedSource:
    """Return what would be stored of one source, as far as it does not hang on the others."""
    return _source(probe, 0, 0)[0]


def _place(probe: Probed) -> tuple[str, str]:
    return probe.source.service, probe.source.tier


def _sources(group: list[Probed], limits: Limits) -> tuple[PlannedSource, ...]:
    left = limits.cap
    planned = []
    for probe in group:
        source, left = _source(probe, limits.small, left)
        planned.append(source)
    return tuple(planned)


def _source(probe: Probed, small: int, left: int) -> tuple[PlannedSource, int]:
    if probe.facts is None:
        trouble = probe.trouble or Trouble("not probed", None, 1)
        return PlannedSource(probe.source, (), trouble, history=probe.history), left
    items = []
    for item in probe.facts.items:
        route = _route(item, probe, small, left)
        if route == "staged":
            left -= item.bytes or 0
        stored = "" if route == "paths" else stored_name(probe.source.name, item.name, item.extension)
        items.append(PlannedItem(item, route, stored, probe.paths.get(item.name)))
    facts = probe.facts
    empty = None if items else Trouble("nothing to back up was found", "check what the source names", 1)
    source = PlannedSource(
        probe.source, tuple(items), empty, facts.server, facts.tool, facts.findings, probe.history, facts.image
    )
    return source, left


def _route(item: Item, probe: Probed, small: int, left: int) -> Route:
    if item.name in probe.paths:
        return "paths"
    return "staged" if item.bytes is not None and item.bytes <= min(small, left) else "stream"


def shrunk(stored: int, history: SourceHistory | None) -> Finding | None:
    """Return a warning when a source is far smaller than usual: exit code 0 and a footer do not prove completeness."""
    if history is None or history.runs < 2 or stored >= history.bytes * SMALLEST_SHARE:
        return None
    share = round(100 * stored / history.bytes) if history.bytes else 100
    return Finding(
        "warning", f"only {share} % of its usual size ({stored} of {history.bytes} bytes)", "look at the source"
    )


def slow_repository(waited: float, seconds: float, repository: str) -> Finding | None:
    """Return a warning when a streamed dump mostly waited to be stored: its transaction is open all that time.

    waited: seconds in which nothing could be handed on, of the `seconds` that the dump took.
    """
    if waited < WAITED_LEAST or waited < WAITED_SHARE * seconds:
        return None
    return Finding(
        "warning",
        f"the dump waited {waited / 60:.0f} of its {seconds / 60:.0f} minutes for repository {repository}; its "
        "transaction, and what the server must keep for it, stayed open as long",
        "raise staging.source and staging.max so that it is dumped first and stored then, raise restic.upload, lower "
        "parallel, or make a nearer repository the first",
    )


def with_excludes(paths: PathSet, protected: Mapping[str, Iterable[str]]) -> PathSet:
    """Add excludes for our own directories and live database files below a path source.

    protected: reason → absolute paths as seen through the source's own path names.
    """
    added = {place: reason for reason, places in protected.items() for place in places}
    findings = tuple(Finding("info", f"left out: {place} ({reason})") for place, reason in sorted(added.items()))
    excludes = (*paths.excludes, *(escape_pattern(place) for place in sorted(added)))
    return replace(paths, excludes=excludes, findings=(*paths.findings, *findings))


def escape_pattern(path: str) -> str:
    """Return a restic exclude pattern that matches exactly this path: wildcards are escaped by a backslash."""
    return "".join("\\" + letter if letter in "\\*?[" else letter for letter in path)


def seen_through(source: str, source_real: str, place_real: str) -> str | None:
    """Return the name under which a walk of `source` meets `place_real`, or None when it is not below it.

    Both real paths have their symbolic links resolved, so that a repository reached by another name is found too.
    """
    if place_real == source_real:
        return source
    below = source_real.rstrip("/") + "/"
    if not place_real.startswith(below):
        return None
    return source.rstrip("/") + "/" + place_real[len(below) :]
