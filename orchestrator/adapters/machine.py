"""What must be known of this machine."""

from __future__ import annotations

import os
import secrets
import shutil

from orchestrator.adapters.state import StateFolder

_MACHINE_ID = "/etc/machine-id"


def machine_id(state: StateFolder) -> str:
    """Return what tells this machine from others: /etc/machine-id, else an ID of our own in the state folder.

    $RESGUARDO_MACHINE overrides both, for containers that are made anew at every start.
    """
    given = os.environ.get("RESGUARDO_MACHINE")
    if given:
        return given
    known = _read(_MACHINE_ID)
    if known:
        return known
    own = os.path.join(state.root, "machine-id")
    if not os.path.exists(own):
        temporary = f"{own}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(16))
        os.rename(temporary, own)
    return _read(own)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def free_bytes(path: str) -> int:
    """Return the bytes that we may still write on the disk of path, or of its nearest existing parent."""
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    return shutil.disk_usage(path).free


def available_memory() -> int:
    """Return the bytes of memory that can be had without swapping (MemAvailable of /proc/meminfo)."""
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0
