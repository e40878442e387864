"""What use cases are given: the ports, wired by `app`, and the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from orchestrator.model.engine import Engine, Source
from orchestrator.model.errors import Precondition
from orchestrator.model.execution import Executor, Intake, KillProcess, Progress, Stage, Tell, Undo
from orchestrator.model.names import new_run_id
from orchestrator.model.point import Point
from orchestrator.model.ports import Catalog, Notifier
from orchestrator.model.record import Event
from orchestrator.model.repository import Repository
from orchestrator.model.secret import SecretResolver
from orchestrator.policy.config import Config

RECOVER = "`resguardo recover` tries again; until then it stays where it is"


class ClosableUndo(Undo, Protocol):
    """A run's undo list with its orderly end."""

    @property
    def problems(self) -> Sequence[str]:
        """What could not be undone, once closed."""

    def close(self) -> None:
        """End: whatever is left is undone, then the journal goes."""


class DeadRun(Protocol):
    """A run that was killed: its undo list has been carried out."""

    @property
    def run(self) -> str:
        """Its ID."""

    @property
    def restic(self) -> Sequence[KillProcess]:
        """Its restic processes that were not seen to end."""

    @property
    def problems(self) -> Sequence[str]:
        """What could not be undone."""

    @property
    def left(self) -> Sequence[Tell]:
        """What it did that only the user can mend."""

    def forget(self) -> None:
        """Delete its journal; call when its locks were dealt with."""


class LockHolder(Protocol):
    """The run lock of this policy."""

    def __call__(self, wait: float) -> AbstractContextManager[None]:
        """Hold the lock; raises RunLocked after `wait` seconds."""


class LockDoctor(Protocol):
    """Looks after a repository's locks."""

    def __call__(
        self, repository: Repository, known: Sequence[KillProcess], undo: Undo, *, asked: bool = False
    ) -> Sequence[Event]:
        """Remove what the processes `known` left, if they are dead; return an event per lock removed or left.

        asked: also what a process left that is not in our journal and not running on this host.
        """


@dataclass(frozen=True)
class Surroundings:
    """What must be known of this machine. places: reason → directories of ours that no backup may contain."""

    machine: str
    places: Mapping[str, tuple[str, ...]]
    free: Callable[[str], int]
    memory: Callable[[], int]
    real: Callable[[str], str]
    staging: Callable[[str, Undo], AbstractContextManager[str]]
    stage_free: Callable[[], int]


@dataclass(frozen=True)
class Toolbox:
    """The ports of one command.

    `at` says where a source's tools run; `open_undo` starts a run's undo list; `clock` gives UTC; `token` gives 6 hex
    digits.
    """

    config: Config
    engines: Mapping[str, Engine]
    at: Callable[[Source], Executor]
    repositories: Mapping[str, Repository]
    catalog: Catalog
    notifier: Notifier
    open_intake: Callable[[Undo], Intake]
    stage: Stage
    lock: LockHolder
    open_undo: Callable[[str, Sequence[str]], ClosableUndo]
    here: Surroundings
    clock: Callable[[], datetime]
    token: Callable[[], str]
    log: Callable[[Event], None]
    progress: Progress
    sources: tuple[Source, ...]
    no_secret: SecretResolver
    dead: Callable[[], Sequence[DeadRun]]
    unlock_stale: LockDoctor
    is_dead: Callable[[str], bool] = lambda _run: False
    tools: Mapping[str, str] = field(default_factory=dict)
    begun: dict[str, tuple[str, datetime]] = field(default_factory=dict)  # runs of this process that have not ended
    met: dict[str, list[Event]] = field(default_factory=dict)  # what these runs met, for their records
    left: dict[str, list[Event]] = field(default_factory=dict)  # what these runs could not undo, for their records

    def repository(self, point: Point) -> Repository:
        """Return the repository that holds a point. Raises Precondition when the policy names it no longer."""
        try:
            return self.repositories[point.repository]
        except KeyError:
            raise Precondition(
                f"{point.id} lies in repository {point.repository!r}, which policy.yml does not name",
                "put it back under that name; or, if it has another name now, run `resguardo catalog rebuild`",
            ) from None

    def within_reach(self, points: Sequence[Point]) -> list[Point]:
        """Return the points of repositories that the policy names; all of them when there are none."""
        return [point for point in points if point.repository in self.repositories] or list(points)

    @contextmanager
    def undo(self, run: str, also: Sequence[str] = ()) -> Iterator[Undo]:
        """Open the run's undo list; on leaving, whatever is left is undone. also: see RunUndo.

        What cannot be undone belongs to the record of a run that has begun: `finish_run` takes it from `left`.
        """
        undo = self.open_undo(run, also)
        try:
            yield undo
        finally:
            undo.close()
            for problem in undo.problems:
                event = Event(self.clock(), "recover.failed", "failed", problem, run=run, hint=RECOVER)
                if run in self.begun:
                    self.left.setdefault(run, []).append(event)
                else:
                    self.event(event)

    @contextmanager
    def looking(self) -> Iterator[Undo]:
        """Open an undo list for children that only look: it belongs to no run."""
        with self.undo(new_run_id(self.clock(), self.token())) as undo:
            yield undo

    def tell(self, event: Event) -> None:
        """Keep an event for the record of the run under way, whose channels then hear of it; without one: `event`."""
        run = next(iter(self.begun), "")
        if run:
            self.met.setdefault(run, []).append(replace(event, run=run))
        else:
            self.event(event)

    def event(self, event: Event) -> None:
        """Write an event to the catalog and the log."""
        self.catalog.add_event(event)
        self.log(event)
