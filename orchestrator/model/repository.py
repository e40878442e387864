"""The port to a restic repository, and what it tells us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, get_args

from orchestrator.model.engine import PathSet
from orchestrator.model.execution import Undo

Part = Literal["paths", "dumps", "stream", "commit", "warm"]
PARTS: tuple[Part, ...] = get_args(Part)
TAG = "resguardo"
TAG_VERSION = "1"


@dataclass(frozen=True)
class SnapshotTags:
    """The tags of one of our snapshots; `source` and `item` only for streams. Unknown versions are foreign."""

    service: str
    tier: str
    run: str
    part: Part
    source: str = ""
    item: str = ""

    def render(self) -> tuple[str, ...]:
        """Return restic's tags, sorted."""
        pairs = {
            "v": TAG_VERSION,
            "service": self.service,
            "tier": self.tier,
            "run": self.run,
            "part": self.part,
            "source": self.source,
            "item": self.item,
        }
        return (TAG, *sorted(f"{key}={value}" for key, value in pairs.items() if value))

    @classmethod
    def parse(cls, tags: Sequence[str]) -> SnapshotTags | None:
        """Read tags back; None for a snapshot that is not ours or of an unknown version."""
        pairs = dict(tag.split("=", 1) for tag in tags if "=" in tag)
        if TAG not in tags or pairs.get("v") != TAG_VERSION:
            return None
        part = next((known for known in PARTS if known == pairs.get("part")), None)
        if part is None or not pairs.get("run"):
            return None
        service, tier, source, item = (pairs.get(key, "") for key in ("service", "tier", "source", "item"))
        return cls(service, tier, pairs["run"], part, source, item)


@dataclass(frozen=True)
class Snapshot:
    """One of restic's snapshots as listed. `original` is the ID that it was copied from."""

    id: str
    time: datetime
    tree: str
    host: str
    paths: tuple[str, ...]
    tags: tuple[str, ...]
    original: str | None = None
    bytes: int | None = None

    @property
    def ours(self) -> SnapshotTags | None:
        """Its tags, when it is one of ours of a version that we know."""
        return SnapshotTags.parse(self.tags)


@dataclass(frozen=True)
class BackupEnd:
    """How one `restic backup` ended.

    partial: restic exit 3, files could not be read (`unreadable`: path, reason); the snapshot exists all the same.
    bytes, files: processed · added: new bytes in the repository, packed.
    """

    snapshot: str
    partial: bool = False
    unreadable: tuple[tuple[str, str], ...] = ()
    files: int = 0
    bytes: int = 0
    added: int = 0
    started: datetime | None = None
    seconds: float = 0.0


class RunningBackup(Protocol):
    """A `restic backup` under way."""

    def wait(self) -> BackupEnd:
        """Wait for its end. Raises RepositoryMissing, WrongPassword, RepositoryLocked, DiskFull, … by exit code."""

    def poll(self) -> bool:
        """Whether it has ended."""

    def stop(self) -> None:
        """Interrupt, then kill after 1 s, and reap; safe to call again."""


@dataclass(frozen=True)
class Lock:
    """One restic lock: who holds it and since when."""

    id: str
    time: datetime
    host: str
    pid: int
    exclusive: bool
    user: str = ""


@dataclass(frozen=True)
class CheckEnd:
    """How `restic check` ended: `errors` are its messages; empty means sound."""

    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForgetEnd:
    """What a forget did: IDs that are gone and IDs that are still listed afterwards (proved by listing)."""

    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


class Repository(Protocol):
    """A configured repository. All calls raise the typed errors of restic's exit codes.

    Calls that look or forget have deadlines; those that may rightly take days (prune, check, restore) end when restic
    stands still for half an hour; a backup ends at the caller's `deadline` in seconds, if one is given.
    """

    name: str
    host: str

    @property
    def processes(self) -> int:
        """How many restic processes were started on it (version checks apart)."""

    def describe(self) -> str:
        """Return the URL without secrets."""

    def local_path(self) -> str | None:
        """Return the directory of a local repository, else None."""

    def fingerprint(self) -> str | None:
        """Return what tells a local repository from another one, without a process; "" when none is there.

        None where it cannot be told so cheaply: on a server, or without the rights to read it.
        """

    def version(self) -> str:
        """Return restic's version; raises ToolMissing when absent or older than 0.18."""

    def exists(self, undo: Undo) -> bool:
        """Whether a repository is there (restic exit 10 means no); raises on every other fault."""

    def init(self, undo: Undo) -> None:
        """Create the repository; only `resguardo init` calls this."""

    def backup_paths(
        self,
        paths: PathSet,
        tags: SnapshotTags,
        undo: Undo,
        *,
        parent: str | None = None,
        deadline: float | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> RunningBackup:
        """Start storing paths; a vanished parent raises ParentGone from wait() (call again without)."""

    def backup_stream(
        self, filename: str, command: Sequence[str], tags: SnapshotTags, undo: Undo, *, deadline: float | None = None
    ) -> RunningBackup:
        """Start storing what `command` (a pump's argv) prints, as the flat file `filename`."""

    def snapshots(self, undo: Undo) -> list[Snapshot]:
        """List this host's snapshots that carry our tag, without a lock."""

    def forget(self, ids: Sequence[str], undo: Undo, *, then: Sequence[str] = ()) -> ForgetEnd:
        """Forget exactly `ids`, and `then` the others, only if all of the first are gone.

        Lists afterwards: restic's exit 0 proves nothing.
        """

    def prune(self, undo: Undo) -> None:
        """Free the space of what was forgotten."""

    def check(self, undo: Undo, *, data: str | None = None) -> CheckEnd:
        """Check structure, and `data` of the packs: "10%", "2/7", or "all"."""

    def dump(self, snapshot: str, path: str, stdout: int, undo: Undo) -> RunningRead:
        """Start writing one stored file to the descriptor `stdout`, without a lock or a deadline: who reads watches."""

    def restore(
        self,
        snapshot: str,
        target: str,
        undo: Undo,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        verify: bool = False,
    ) -> RestoreEnd:
        """Restore files below `target` (empty or new), without a lock."""

    def read(self, snapshot: str, path: str, undo: Undo, *, limit: int) -> bytes:
        """Return one stored file whole, at most `limit` bytes (more raises DataDamaged)."""

    def locks(self, undo: Undo) -> list[Lock]:
        """List the repository's locks."""

    def unlock(self, undo: Undo) -> None:
        """Remove stale locks (never `--remove-all`); only the lock doctor calls this."""


class RunningRead(Protocol):
    """A `restic dump` under way."""

    def wait(self) -> None:
        """Wait for its end; raises DataDamaged and the typed errors."""

    def stop(self) -> None:
        """Stop and reap it; safe to call again."""


@dataclass(frozen=True)
class RestoreEnd:
    """What a restore wrote, and the errors that it met (path, reason)."""

    files: int = 0
    bytes: int = 0
    errors: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
