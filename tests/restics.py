"""The versions of restic that scripts/test has put below .tools/bin: tests run on the oldest and on the newest."""

from __future__ import annotations

from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent / ".tools" / "bin"


def _number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _found() -> tuple[str, ...]:
    names = (path.name.removeprefix("restic-") for path in TOOLS.glob("restic-[0-9]*") if path.exists())
    versions = sorted((name for name in names if name.replace(".", "").isdigit()), key=_number)
    return tuple(dict.fromkeys((versions[0], versions[-1]))) if versions else ("none",)


RESTIC_VERSIONS = _found()


def restic_of(version: str) -> str:
    """Return the path of one restic; where there is none a test is skipped (and fails with CI=true)."""
    path = TOOLS / f"restic-{version}"
    if not path.exists():
        pytest.skip(f"{path} is missing: scripts/test installs it")
    return str(path)
