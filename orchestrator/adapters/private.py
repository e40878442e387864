"""0700 directories of ours, registered for removal before they exist."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.adapters.sentinel import remove_path
from orchestrator.adapters.state import StateFolder
from orchestrator.model.errors import DiskFull, ResguardoError
from orchestrator.model.execution import RemovePath, Undo

LARGE = 64 * 1024 * 1024  # bytes: what is larger goes to a disk instead of memory


def private_dir(state: StateFolder, undo: Undo, *, size_hint: int = 0) -> str:
    """Make a directory for plaintext; it is removed at the run's end, or by the sentinel. Raises DiskFull."""
    return _make(os.path.join(state.disk if size_hint > LARGE else state.runtime, _random()), undo)[0]


def socket_dir(state: StateFolder, undo: Undo) -> str:
    """Make a directory whose path leaves room for a UNIX socket's name."""
    return _make(f"{state.runtime}/{_random()}" if state.short else state.temporary_prefix + _random(), undo)[0]


@contextmanager
def staging_dir(state: StateFolder, undo: Undo, place: str) -> Iterator[str]:
    """Make a staging directory for the block, at the same path every time; the run lock guards it.

    place: `<service>/<tier>`. What a dead run left there is removed first.
    """
    path = os.path.join(state.staging, place)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    remove_path(path)
    path, action = _make(path, undo)
    yield path
    # Not in a `finally`: when the block fails its restic may still read, and the undo list keeps the right order.
    remove_path(path)
    undo.done(action)


def temporary_dir(state: StateFolder, undo: Undo, uid: int) -> tuple[str, str]:
    """Make a directory that the user `uid` can reach and owns; return its path and the action's ID."""
    path, action = _make(state.temporary_prefix + _random(), undo)
    os.chown(path, uid, -1)
    return path, action


def secrets_dir(state: StateFolder, undo: Undo) -> tuple[str, str]:
    """Make a directory for one child's secrets; return its path and the action's ID."""
    return _make(os.path.join(state.runtime, _random()), undo)


def _random() -> str:
    return secrets.token_hex(6)


def _make(path: str, undo: Undo) -> tuple[str, str]:
    action = undo.register(RemovePath(path))
    try:
        os.mkdir(path, 0o700)
    except FileExistsError as error:
        raise ResguardoError(f"directory {path} exists already", hint="another run uses it; try again") from error
    except OSError as error:
        raise DiskFull(f"directory {path}: {error.strerror}", hint="free space on that disk") from error
    return path, action
