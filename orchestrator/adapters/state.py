"""The state folder of one policy, and the runtime folder for sockets and small plaintext."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from functools import cached_property

from orchestrator.model.errors import DiskFull, RightsMissing

# sun_path has 108 bytes; a private folder and a socket's name below the runtime folder take 24 of them.
LONGEST_RUNTIME = 80


class StateFolder:
    """Where an installation keeps what it must remember: 0700 folders, made when first asked for.

    id: 12 hex of the SHA-256 of policy.yml's real path, so it is known before YAML is read. The root is
    `$RESGUARDO_STATE`, or `/var/lib/resguardo/<id>` for root, or `$XDG_STATE_HOME/resguardo/<id>`.
    Raises RightsMissing when a folder belongs to another user or is writable by others.
    """

    def __init__(self, policy_path: str, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        real = os.fsencode(os.path.realpath(policy_path))
        self.id = hashlib.sha256(real).hexdigest()[:12]
        self._staging = ""

    @cached_property
    def root(self) -> str:
        """The state folder itself."""
        return _private(os.path.realpath(self._configured_root()))

    def exists(self) -> bool:
        """Whether the folder is there already; asking does not make it."""
        return os.path.isdir(self._configured_root())

    def _configured_root(self) -> str:
        given = self._environ.get("RESGUARDO_STATE")
        if given:
            return os.path.abspath(given)
        if os.geteuid() == 0:
            return f"/var/lib/resguardo/{self.id}"
        home = self._environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        return os.path.join(home, "resguardo", self.id)

    @property
    def catalog(self) -> str:
        """The catalog's file."""
        return os.path.join(self.root, "catalog.db")

    @property
    def lock(self) -> str:
        """The run lock's file."""
        return os.path.join(self.root, "run.lock")

    @cached_property
    def holds(self) -> str:
        """Journals of what must be undone."""
        return self._folder("holds")

    @cached_property
    def cache(self) -> str:
        """restic's cache."""
        return self._folder("cache")

    @cached_property
    def logs(self) -> str:
        """Log files."""
        return self._folder("logs")

    @cached_property
    def last_good(self) -> str:
        """The last policy that was valid."""
        return self._folder("last-good")

    @cached_property
    def disk(self) -> str:
        """Plaintext that is too large for memory."""
        return self._folder("staging")

    @cached_property
    def runtime(self) -> str:
        """Sockets and small plaintext: below /run (memory) for root, else in the state folder."""
        if os.geteuid() == 0 and not self._environ.get("RESGUARDO_STATE") and os.access("/run", os.W_OK):
            return _private(f"/run/resguardo/{self.id}")
        return self._folder("runtime")

    @property
    def shared_locks(self) -> str:
        """The folder for locks between all policies of this user on this machine, whatever RESGUARDO_STATE says."""
        if os.geteuid() == 0:
            base = "/run" if os.access("/run", os.W_OK) else "/var/lib"
        else:
            home = self._environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
            base = self._environ.get("XDG_RUNTIME_DIR") or home
        return _private(os.path.join(base, "resguardo", "locks"), "lock folder", "XDG_RUNTIME_DIR")

    def use_staging(self, folder: str) -> None:
        """Let small dumps wait below a folder of the user's (`staging.dir` of the policy); "auto": as without it."""
        self._staging = "" if folder == "auto" else os.path.join(os.path.realpath(folder), f"resguardo-{self.id}")

    @property
    def staging_path(self) -> str:
        """Where small dumps wait for restic, whether it is there or not."""
        return self._staging or os.path.join(self.runtime, "staging")

    @property
    def staging(self) -> str:
        """Where small dumps wait for restic: a private folder below the user's, or below the runtime folder."""
        if self._staging:
            _check_parent(os.path.dirname(self._staging))
        return _private(self.staging_path, "staging folder", "staging.dir")

    @property
    def short(self) -> bool:
        """Whether a UNIX socket's path below the runtime folder fits into the 108 bytes that it may have."""
        return len(os.fsencode(self.runtime)) <= LONGEST_RUNTIME

    @property
    def temporary_prefix(self) -> str:
        """How the names of our folders below the temporary directory begin."""
        return os.path.join(os.path.realpath(tempfile.gettempdir()), f"resguardo-{self.id}-")

    def removable(self) -> tuple[str, ...]:
        """Prefixes of the only paths that undoing may remove."""
        staging = (f"{self._staging}/",) if self._staging else ()
        return (f"{self.runtime}/", f"{self.disk}/", self.temporary_prefix, *staging)

    def _folder(self, name: str) -> str:
        return _private(os.path.join(self.root, name))


def _private(path: str, what: str = "state folder", setting: str = "RESGUARDO_STATE") -> str:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            _check(path, what, setting)
    except PermissionError as error:
        raise RightsMissing(
            f"{what} {path}: {error.strerror}", hint=f"run as the user that owns it, or set {setting}"
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise RightsMissing(
            f"{what} {path}: {error.strerror}", hint=f"a file stands where a folder must be; set {setting}"
        ) from error
    except OSError as error:
        raise DiskFull(f"{what} {path}: {error.strerror}", hint=f"free space, or set {setting}") from error
    return path


def _check(path: str, what: str, setting: str) -> None:
    """Refuse a folder in which somebody else could plant a journal or read plaintext."""
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise RightsMissing(f"{what} {path}: not a directory", hint=f"move it away, or set {setting}")
    if found.st_uid != os.geteuid():
        raise RightsMissing(
            f"{what} {path}: belongs to user {found.st_uid}, not to {os.geteuid()}",
            hint=f"run as its owner, or set {setting}",
        )
    if found.st_mode & 0o022:
        raise RightsMissing(
            f"{what} {path}: writable by others (mode {found.st_mode & 0o7777:04o})", hint=f"chmod 0700 '{path}'"
        )


def _check_parent(path: str) -> None:
    """Refuse a folder in which others could exchange ours: theirs, or writable by all without the sticky bit."""
    try:
        found = os.stat(path)
    except OSError:
        return  # it is made with ours, which says what stands in the way
    if found.st_uid not in (0, os.geteuid()):
        raise RightsMissing(f"staging folder {path}: belongs to user {found.st_uid}", hint="choose another staging.dir")
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        raise RightsMissing(
            f"staging folder {path}: writable by others (mode {found.st_mode & 0o7777:04o})",
            hint=f"chmod go-w '{path}', or choose another staging.dir",
        )
