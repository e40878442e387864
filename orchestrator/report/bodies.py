"""The documents of `--json`: what each command prints, as dataclasses; `DOCUMENTS` names them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.model.errors import Problem
from orchestrator.model.execution import Finding
from orchestrator.model.point import Point
from orchestrator.model.record import Event, RestoredItem, RunRecord
from orchestrator.planning.backup import BackupPlan
from orchestrator.planning.preflight import Preflight
from orchestrator.planning.restore import RestorePlan
from orchestrator.planning.simulate import Simulation
from orchestrator.planning.status import Status
from orchestrator.planning.tidy import RetentionPlan


@dataclass(frozen=True)
class InitializedRepository:
    """One repository of the policy, which is there now."""

    name: str
    url: str
    result: str


@dataclass(frozen=True)
class Initialized:
    """What `init` wrote and created."""

    written: Sequence[str]
    repositories: Sequence[InitializedRepository]


@dataclass(frozen=True)
class ValidSource:
    """One enabled source as services.yml describes it."""

    name: str
    engine: str
    tier: str


@dataclass(frozen=True)
class ValidService:
    """One service as services.yml describes it; a disabled one has no sources."""

    name: str
    enabled: bool
    sources: Sequence[ValidSource]


@dataclass(frozen=True)
class Validated:
    """What both files hold, or everything that is wrong with them: then sha256 and host are null, the lists empty."""

    valid: bool
    policy: str
    sha256: str | None = None
    host: str | None = None
    repositories: Sequence[str] = ()
    services: Sequence[ValidService] = ()
    problems: Sequence[Problem] = ()


@dataclass(frozen=True)
class Schemas:
    """The JSON Schemas of policy.yml and services.yml that were asked for, and the files that they were written to."""

    schemas: Mapping[str, Mapping[str, Any]]
    written: Sequence[str] = ()


@dataclass(frozen=True)
class Planned:
    """What a backup would do, and what retention would forget after it."""

    plan: BackupPlan
    retention: RetentionPlan | None = None
    seen: datetime | None = None


@dataclass(frozen=True)
class Listed:
    """Restore points, newest first."""

    restore_points: Sequence[Point]


@dataclass(frozen=True)
class Shown:
    """One restore point."""

    restore_point: Point


@dataclass(frozen=True)
class ShownFiles:
    """The policy's files as they were when a restore point was made."""

    files: Mapping[str, str]


@dataclass(frozen=True)
class RestorePlanned:
    """What a restore would do."""

    plan: RestorePlan


@dataclass(frozen=True)
class RestoreRun(RunRecord):
    """A restore: the run, and how each item came back."""

    items: Sequence[RestoredItem] = ()


@dataclass(frozen=True)
class PrunePlanned:
    """What retention would do in each repository."""

    repositories: Sequence[RetentionPlan]
    force: bool = False


@dataclass(frozen=True)
class SimulatedSeries:
    """One service and tier, and what the policy would keep of it."""

    service: str
    tier: str
    simulation: Simulation


@dataclass(frozen=True)
class Simulated:
    """What the policy would keep over time."""

    series: Sequence[SimulatedSeries]


@dataclass(frozen=True)
class StatusBody:
    """How each service and repository stands."""

    status: Status


@dataclass(frozen=True)
class ExaminedSubject(Finding):
    """One thing that was looked at, and what was found."""

    subject: str = ""


@dataclass(frozen=True)
class Examined:
    """Everything that a backup needs, as it was found."""

    findings: Sequence[ExaminedSubject]
    sources: Sequence[Preflight] = ()


@dataclass(frozen=True)
class Failpoints:
    """The places at which a test can kill the program."""

    failpoints: Mapping[str, str]


@dataclass(frozen=True)
class TriedChannel:
    """One channel that a test notification was sent to."""

    channel: str
    error: str
    hint: str | None = None


@dataclass(frozen=True)
class NotifyTested:
    """Which channels took a test notification."""

    channels: Sequence[TriedChannel]


@dataclass(frozen=True)
class BrokenPoint:
    """A commit in a repository that is no restore point."""

    point: str
    why: str


@dataclass(frozen=True)
class Rebuilt:
    """What the catalog learnt from the repositories."""

    added: Sequence[str]
    broken: Sequence[BrokenPoint]
    known: int
    lost: Sequence[str] = ()


@dataclass(frozen=True)
class Recovered:
    """The killed runs whose leftovers were undone, what became of the locks, and what stays for the user to mend."""

    dead_runs: Sequence[str]
    locks: Sequence[Event] = ()
    left: Sequence[Event] = ()


@dataclass(frozen=True)
class Failure:
    """Why a command could not do its work."""

    error: str
    hint: str | None
    exit_code: int


@dataclass(frozen=True)
class Document:
    """One kind of document.

    commands: those that print it (none: every command may) · summary: what it holds, where several share a class.
    """

    commands: tuple[str, ...]
    body: type
    summary: str = ""

    @property
    def about(self) -> str:
        """What it holds, in a sentence."""
        return self.summary or str(self.body.__doc__)


DOCUMENTS: Mapping[str, Document] = {
    "init": Document(("init",), Initialized),
    "validate": Document(("validate",), Validated),
    "schema": Document(("schema policy", "schema services", "schema --write"), Schemas),
    "plan": Document(("plan", "backup --dry-run"), Planned),
    "backup": Document(("backup",), RunRecord, "The run: what was stored, committed, forgotten and checked."),
    "list": Document(("list",), Listed),
    "show": Document(("show POINT",), Shown),
    "show-files": Document(("show POINT --files",), ShownFiles),
    "restore": Document(("restore SERVICE",), RestoreRun),
    "restore-plan": Document(("restore SERVICE --dry-run",), RestorePlanned),
    "verify": Document(("verify",), RunRecord, "The run: its `repositories` say what the check found."),
    "prune": Document(("prune",), RunRecord, "The run: `forgotten` says what is gone, and why."),
    "prune-plan": Document(("prune --dry-run",), PrunePlanned),
    "prune-simulate": Document(("prune --simulate SPAN",), Simulated),
    "status": Document(("status",), StatusBody),
    "doctor": Document(("doctor",), Examined),
    "failpoints": Document(("doctor --failpoints",), Failpoints),
    "notify-test": Document(("notify test",), NotifyTested),
    "catalog-rebuild": Document(("catalog rebuild",), Rebuilt),
    "recover": Document(("recover",), Recovered),
    "error": Document((), Failure),
}
