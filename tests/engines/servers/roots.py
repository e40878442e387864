"""Where the servers' programs are, on every machine that the suite runs on.

`scripts/test --matrix` runs each engine's suite once more inside roots of other Debian suites, which have other
versions of the servers (scripts/lib/matrix.sh). A root is a whole machine to the tests: the same test files, run by a
Python of its own, with servers and client tools at their usual places and the usual accounts. A server module thus
needs nothing but to *look*: on PATH and where Debian puts servers (`program`), never to assume a version.

What is nowhere is a skip (`needed`): where the distribution has the package, scripts/test installs it and CI fails on
that skip; where apt knows no such package (MySQL's server and Valkey on older Debians) the reason says so, CI lets it
pass, and only the matrix runs those tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

# Debian's places that are not on everybody's PATH; those of one version last
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def program(*names: str, folders: tuple[str, ...] = ()) -> Path | None:
    """Return the first of these programs that is there (in `folders`, on PATH, in Debian's places), or None."""
    places = os.pathsep.join([*folders, *os.get_exec_path(), *FOLDERS])
    found = (shutil.which(name, path=places) for name in names)
    return next((Path(path) for path in found if path), None)


def needed(*names: str, package: str, folders: tuple[str, ...] = ()) -> Path:
    """Return as `program`; skip the test where there is none."""
    path = program(*names, folders=folders)
    if path is not None:
        return path
    named = " or ".join(names)
    if packaged(package):
        pytest.skip(f"{named} is missing: scripts/test installs {package}")
    pytest.skip(f"impossible here: this distribution has no {package} ({named}): scripts/test --matrix tests it")


def packaged(package: str) -> bool:
    """Whether this machine's package manager knows the package; where there is no apt, nobody says that it does not."""
    if shutil.which("apt-cache") is None:
        return True
    shown = subprocess.run(["apt-cache", "show", package], capture_output=True, check=False, timeout=60)
    return shown.returncode == 0
