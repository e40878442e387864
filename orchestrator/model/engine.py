"""The port that every engine fulfils.

An engine is one module in `orchestrator/engines` with a class attribute-compatible with `Engine` named by
`ENGINE = ClassName()`. It is stateless: it keeps nothing between calls, and undoes only through `undo`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from orchestrator.model.execution import Executor, Finding, Proc, Trailer, Undo
from orchestrator.model.owner import Owner
from orchestrator.model.secret import Secret, SecretResolver
from orchestrator.model.waiting import Wait, poll


@dataclass(frozen=True)
class Source:
    """One thing that a service holds, as configured. `options` is an instance of the engine's own Options model.

    wait: with which an engine waits for a driver of its own, so that a run that is told to stop does so · hide: is told
    of secrets that the engine read itself, so that logs can leave them out · container: inside which its tools run;
    "" on this host.
    """

    service: str
    name: str
    engine: str
    tier: str
    timeout: float
    options: Any
    resolve: SecretResolver = field(repr=False, compare=False)
    wait: Wait = field(default=poll, repr=False, compare=False)
    hide: Callable[[Secret], None] = field(default=lambda _secret: None, repr=False, compare=False)
    container: str = ""

    @property
    def id(self) -> str:
        """`<service>/<name>`."""
        return f"{self.service}/{self.name}"


@dataclass(frozen=True)
class Item:
    """A part of a source that is stored by itself: a database, the globals, a set of paths.

    name: as the server knows it (may be hostile) · extension: of the stored file · bytes: the probe's estimate of the
    stored size, None when unknown · role: "data", or "globals" for what must be restored before the rest · owner: of a
    restore, whose the file was when it was dumped, where that is known.
    """

    source: Source
    name: str
    extension: str
    bytes: int | None = None
    role: Literal["data", "globals"] = "data"
    owner: Owner | None = None


@dataclass(frozen=True)
class Facts:
    """What a probe saw of a source; a probe changes nothing.

    image: of the container in which the server runs; whoever asks for the probe adds it.
    """

    items: tuple[Item, ...]
    server: str = ""
    tool: str = ""
    findings: tuple[Finding, ...] = ()
    image: str = ""


@dataclass(frozen=True)
class DumpEnd:
    """How a dump ended, said by its producer.

    counts: rows (or the like) per object, read in the dump's own snapshot where `counts_exact` · as_of: the instant
    whose state was dumped · bytes, sha256: what the producer itself wrote, where it knows (compared with the pump's) ·
    owner: of the file that was dumped.
    `error` is "" only when the producer vouches for the whole dump.
    """

    error: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    counts_exact: bool = False
    as_of: datetime | None = None
    findings: tuple[Finding, ...] = ()
    bytes: int | None = None
    sha256: str | None = None
    owner: Owner | None = None


class Dump(Protocol):
    """A dump under way.

    `fd` is the readable end of its bytes; the context manager that gave it closes it and stops the producer.
    """

    fd: int
    trailer: Trailer

    def finish(self) -> DumpEnd:
        """Wait for the producer once its bytes were read to the end; never raises for a bad dump: says `error`."""


@dataclass(frozen=True)
class PathSet:
    """Paths for restic to read itself, verified to exist. `excludes` are restic patterns of the user.

    lacking: of level error, why other paths of the source are not among them; the source is partial then.
    """

    paths: tuple[str, ...]
    excludes: tuple[str, ...] = ()
    exclude_if_present: tuple[str, ...] = ()
    exclude_larger_than: str | None = None
    exclude_caches: bool = False
    one_file_system: bool = False
    findings: tuple[Finding, ...] = ()
    lacking: tuple[Finding, ...] = ()


class Data(Protocol):
    """An item's bytes on their way back. `fd` is readable; its end of file comes only after `finish` was called."""

    fd: int

    def finish(self, consumer: Proc | None = None) -> None:
        """Wait until all bytes were read out of the repository and agree with the manifest, then let `fd` end.

        Call it from the thread that owns the consumer, after starting it with stdin=fd (or in another thread while
        reading fd yourself). On bad data `consumer` is killed *before* fd ends, and DataDamaged is raised: a client
        such as psql must never see a clean end of a cut stream, or it commits. With a consumer `fd` is closed here:
        the consumer has its own copy, and must be the only one to hold it.
        """


@dataclass(frozen=True)
class Restored:
    """What a restore made: the new name (database or path) and what is worth saying.

    beside: what is true only while it lies beside the original, and not said when it takes that one's place.
    """

    name: str
    findings: tuple[Finding, ...] = ()
    beside: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Kept:
    """Where the replaced data was kept (database or path; None: there was nothing), and what is worth saying."""

    name: str | None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Original:
    """What an in-place restore would replace. there: False when nothing is there now, None when that cannot be seen ·
    findings: what is worth saying before it is replaced; one of level error says that it cannot be.
    """

    there: bool | None = None
    findings: tuple[Finding, ...] = ()


# What a restore makes: one file (or, of paths, what restic makes of them), a folder, or a database inside a server.
Places = Literal["path", "folder", "server"]


class Engine(Protocol):
    """Knows one kind of source. No method keeps state; all are called from worker threads."""

    name: str
    Options: type[Any]
    delivers: Literal["stream", "paths"]
    places: Places

    def originals(self, source: Source) -> Mapping[str, str]:
        """Return item name → the live path or database that an in-place restore replaces; looks at options only.

        A server engine may leave items out: their own name is then the database's.
        """

    def original(self, item: Item, at: Executor) -> Original:
        """Look at what an in-place restore of this item would replace; never raises, changes nothing."""

    def probe(self, source: Source, at: Executor, undo: Undo) -> Facts:
        """Look only: items, sizes, versions, findings.

        Raises ServerUnreachable, RightsMissing, ToolMissing, Precondition.
        """

    def dump(self, item: Item, at: Executor, undo: Undo) -> AbstractContextManager[Dump]:
        """Start dumping one item (delivers == "stream"). Raises as probe, and DumpFailed."""

    def paths(self, item: Item) -> PathSet:
        """Return what restic shall read (delivers == "paths").

        Raises Precondition or RightsMissing when it can read none of it.
        """

    def restore(self, item: Item, data: Data, to: str, at: Executor, undo: Undo) -> Restored:
        """Restore under the new name or path `to`, which must not exist yet; nothing else is touched.

        For delivers == "paths" this is not called: the run lets restic write to `to` itself. Raises RestoreFailed.
        """

    def verify(self, item: Item, to: str, expected: Mapping[str, int], at: Executor, undo: Undo) -> Sequence[Finding]:
        """Check what restore made: structure, and counts against `expected`. Any finding of level error fails it."""

    def swap(self, item: Item, to: str, kept: str, at: Executor, undo: Undo) -> Kept:
        """Put `to` in the original's place; the original stays under `kept`. Never deletes; all or nothing.

        When the run is killed, whatever then stands at or below `to` is removed: the original must never do so.
        """
