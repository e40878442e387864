"""The version gate: restic 0.18 or newer, remembered by the binary's identity so that a usual run starts no process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile

from orchestrator.model.errors import ToolMissing

OLDEST = (0, 18)
_FILE = "restic-version.json"
_HINT = "install restic 0.18 or newer and set restic.path, or put it on PATH"
_VERSION = re.compile(r"restic (\d+(?:\.\d+)+\S*)")


def locate(program: str) -> str:
    """Return restic's real path. Raises ToolMissing."""
    found = shutil.which(program)
    if found is None:
        raise ToolMissing(f"restic is not there: {program}", _HINT)
    return os.path.realpath(found)


def ensure(program: str, cache: str) -> str:
    """Return the version of restic. Raises ToolMissing when absent, broken or older than 0.18."""
    path = locate(program)
    identity = _identity(path)
    version = _remembered(cache, identity)
    if version is None:
        version = _ask(path)
        _remember(cache, identity, version)
    if _numbers(version)[:2] < OLDEST:
        raise ToolMissing(f"restic {version} at {path} is too old", _HINT)
    return version


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", version)[:3])


def _identity(path: str) -> list[str | int]:
    stat = os.stat(path)
    return [path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _ask(path: str) -> str:
    try:
        answer = subprocess.run(
            [path, "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=True,
            env={"PATH": os.defpath},
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolMissing(f"restic at {path} does not run: {error}", _HINT) from error
    found = _VERSION.search(answer.stdout.decode("utf-8", "replace"))
    if found is None:
        raise ToolMissing(f"{path} does not say that it is restic", _HINT)
    return found[1]


def _remembered(cache: str, identity: list[str | int]) -> str | None:
    try:
        with open(os.path.join(cache, _FILE), encoding="utf-8") as file:
            known = json.load(file)
    except (OSError, ValueError):
        return None
    if not isinstance(known, dict) or known.get("identity") != identity or not isinstance(known.get("version"), str):
        return None
    return known["version"] or None


def _remember(cache: str, identity: list[str | int], version: str) -> None:
    # A version that cannot be remembered is asked again next time: no reason to fail.
    with contextlib.suppress(OSError):
        os.makedirs(cache, mode=0o700, exist_ok=True)
        handle, path = tempfile.mkstemp(dir=cache, prefix=_FILE)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"identity": identity, "version": version}, file)
        os.replace(path, os.path.join(cache, _FILE))
