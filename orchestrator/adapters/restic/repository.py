"""One restic repository, fulfilling the port `Repository`: no call hangs for ever, and each raises typed errors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence

from orchestrator.adapters.launch import launch
from orchestrator.adapters.redaction import redact_url
from orchestrator.adapters.restic import backup, listing, outcome, reading
from orchestrator.adapters.restic.backup import PathsBackup, StreamBackup
from orchestrator.adapters.restic.command import STALL, Launcher, Request, Runner, is_remote
from orchestrator.adapters.restic.environment import MakeDir
from orchestrator.adapters.restic.outcome import Outcome, raise_unless
from orchestrator.adapters.restic.reading import Read
from orchestrator.adapters.restic.settings import Settings
from orchestrator.model.engine import PathSet
from orchestrator.model.execution import Undo
from orchestrator.model.failpoints import reach
from orchestrator.model.repository import (
    TAG,
    CheckEnd,
    ForgetEnd,
    Lock,
    RestoreEnd,
    Snapshot,
    SnapshotTags,
)

LIST, CHANGE = 300.0, 1800.0  # deadlines in seconds: list or look; forget
_CONFIG = 1 << 16  # bytes; restic's `config` has some hundred


class ResticRepository:
    """One configured repository.

    private_dir: makes a 0700 directory that `undo` knows (`private.secrets_dir`); each call removes its own at its end
    · launcher: starts a child that `undo` knows.
    """

    def __init__(self, settings: Settings, private_dir: MakeDir, launcher: Launcher = launch) -> None:
        self.name = settings.name
        self.host = settings.host
        self._settings = settings
        self._runner = Runner(settings, launcher, private_dir)

    @property
    def processes(self) -> int:
        """How many restic processes were started on this repository (version checks apart)."""
        return self._runner.started

    def describe(self) -> str:
        """Return the URL without secrets."""
        return redact_url(self._settings.url)

    def local_path(self) -> str | None:
        """Return the directory of a local repository, else None."""
        return None if is_remote(self._settings.url) else self._settings.url.removeprefix("local:")

    def fingerprint(self) -> str | None:
        """Return the digest of a local repository's `config` file, which holds its ID; see the port."""
        path = self.local_path()
        if path is None:
            return None
        try:
            with open(os.path.join(path, "config"), "rb") as config:
                return hashlib.sha256(config.read(_CONFIG)).hexdigest()
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError:
            return None

    def version(self) -> str:
        """Return restic's version; raises ToolMissing when absent or older than 0.18."""
        return self._runner.version()

    def exists(self, undo: Undo) -> bool:
        """Whether a repository is there (restic exit 10 means no); raises on every other fault."""
        ended = self._run("cat config", ["cat", "config", "--no-lock"], undo, LIST)
        raise_unless(ended, outcome.MISSING)
        return ended.code == outcome.OK

    def init(self, undo: Undo) -> None:
        """Create the repository; restic itself refuses where there is one."""
        raise_unless(self._run("init", ["init"], undo, LIST))

    def backup_paths(
        self,
        paths: PathSet,
        tags: SnapshotTags,
        undo: Undo,
        *,
        parent: str | None = None,
        deadline: float | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> PathsBackup:
        """Start storing paths; `on_bytes` is called from a watching thread about once a second, and at the end."""
        request = backup.paths_request(paths, tags, self.host, parent=parent, deadline=deadline, on_bytes=on_bytes)
        return PathsBackup(self._runner.start(request, undo), paths, parent, on_bytes)

    def backup_stream(
        self, filename: str, command: Sequence[str], tags: SnapshotTags, undo: Undo, *, deadline: float | None = None
    ) -> StreamBackup:
        """Start storing what `command` prints."""
        request = backup.stream_request(filename, command, tags, self.host, deadline)
        return StreamBackup(self._runner.start(request, undo), filename)

    def snapshots(self, undo: Undo) -> list[Snapshot]:
        """List this host's snapshots that carry our tag, without a lock."""
        args = ["snapshots", "--no-lock", f"--host={self.host}", f"--tag={TAG}"]
        return listing.snapshots(self._run("snapshots", args, undo, LIST))

    def forget(self, ids: Sequence[str], undo: Undo, *, then: Sequence[str] = ()) -> ForgetEnd:
        """Forget exactly these, then those, then list: exit 0 is also what a server that refuses deletion gives.

        Where restic complains about the first, the listing comes before the others, which stay if one of the first did.
        """
        if not ids and not then:
            return ForgetEnd()
        if self._forget(ids, undo):
            first = self._proved(ids, undo)
            if first.kept:
                return ForgetEnd(first.removed, (*first.kept, *then))
        reach("retention.commits_forgotten")
        self._forget(then, undo)
        return self._proved([*ids, *then], undo)

    def _forget(self, ids: Sequence[str], undo: Undo) -> bool:
        """Forget; say whether restic had anything to complain about."""
        if not ids:
            return False
        ended = self._run("forget", ["forget", "--quiet", "--", *ids], undo, CHANGE, locks=True)
        raise_unless(ended, outcome.PARTIAL)
        return ended.code != outcome.OK or bool(ended.stderr.strip())

    def _proved(self, ids: Sequence[str], undo: Undo) -> ForgetEnd:
        # Without --host and --tag: an ID counts as gone only when nothing in the whole repository carries it.
        listed = listing.snapshots(self._run("snapshots", ["snapshots", "--no-lock"], undo, LIST))
        kept = tuple(one for one in ids if any(snapshot.id.startswith(one) for snapshot in listed))
        return ForgetEnd(tuple(one for one in ids if one not in kept), kept)

    def prune(self, undo: Undo) -> None:
        """Free the space of what was forgotten."""
        raise_unless(self._runner.run(Request("prune", ["prune", "--quiet"], None, locks=True, stall=STALL), undo))

    def check(self, undo: Undo, *, data: str | None = None) -> CheckEnd:
        """Check structure, and `data` of the packs: "10%", "2/7", or "all"."""
        share = [] if data is None else ["--read-data"] if data == "all" else [f"--read-data-subset={data}"]
        request = Request("check", ["check", "--quiet", *share], None, locks=True, stall=STALL)
        return listing.check(self._runner.run(request, undo))

    def dump(self, snapshot: str, path: str, stdout: int, undo: Undo) -> Read:
        """Start writing one stored file to the descriptor `stdout`, without a lock."""
        request = reading.dump_request(snapshot, path, stdout)
        return Read(self._runner.start(request, undo), snapshot, path)

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
        request = reading.restore_request(
            snapshot,
            target,
            include=include,
            exclude=exclude,
            verify=verify,
        )
        return reading.restore_end(self._runner.run(request, undo))

    def read(self, snapshot: str, path: str, undo: Undo, *, limit: int) -> bytes:
        """Return one stored file whole, at most `limit` bytes (more raises DataDamaged)."""
        request = reading.read_request(snapshot, path, limit)
        return reading.whole_file(self._runner.run(request, undo), f"{path!r} of snapshot {snapshot[:8]}", limit)

    def locks(self, undo: Undo) -> list[Lock]:
        """List the repository's locks; one that vanishes meanwhile is left out."""
        ids = listing.lock_ids(self._run("list locks", ["list", "locks", "--no-lock"], undo, LIST))
        read = (listing.lock(self._run("cat lock", ["cat", "--no-lock", "lock", one], undo, LIST), one) for one in ids)
        return [lock for lock in read if lock is not None]

    def unlock(self, undo: Undo) -> None:
        """Remove stale locks (never `--remove-all`); only the lock doctor calls this."""
        raise_unless(self._run("unlock", ["unlock"], undo, LIST))

    def _run(self, what: str, args: Sequence[str], undo: Undo, deadline: float, *, locks: bool = False) -> Outcome:
        return self._runner.run(Request(what, args, deadline, locks=locks), undo)
