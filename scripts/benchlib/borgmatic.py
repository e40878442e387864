"""borgmatic from PyPI in an environment of its own, and its configuration for the same work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from benchlib.bench import ROOT, run, to_yaml
from benchlib.measure import NotMeasured, say

VENV = ROOT / ".tools/bench-venv"
PASSPHRASE = "not a secret: made for a measurement"


@cache
def program() -> str:
    """borgmatic's path, installed when it is not there. Raises NotMeasured."""
    installed = VENV / "bin/borgmatic"
    if not installed.exists():
        say("installing borgmatic")
        for argv in ([sys.executable, "-m", "venv", str(VENV)], [str(VENV / "bin/pip"), "install", "-q", "borgmatic"]):
            done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
            if done.returncode:
                raise NotMeasured(f"borgmatic cannot be installed: {done.stderr.strip()[-300:]}")
    return str(installed)


@cache
def borg() -> str:
    """borg's path: on PATH, else from PyPI where there is a wheel, else by apt as root. Raises NotMeasured."""
    program()
    ours = VENV / "bin/borg"
    found = shutil.which("borg") or (str(ours) if ours.exists() else None)
    if found:
        return found
    tries = [[str(VENV / "bin/pip"), "install", "-q", "--only-binary=:all:", "borgbackup"]]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        tries.append(["apt-get", "-qq", "-y", "--no-install-recommends", "install", "borgbackup"])
    for argv in tries:
        subprocess.run(argv, capture_output=True, timeout=600, check=False)
        found = shutil.which("borg") or (str(ours) if ours.exists() else None)
        if found:
            return found
    raise NotMeasured("borg, which borgmatic needs for backups, cannot be installed here")


def versions() -> dict[str, str]:
    """What is compared with."""
    found = {}
    for name, which in (("borgmatic", program), ("borg", borg)):
        try:
            found[name] = run([which(), "--version"], {}).strip()
        except NotMeasured as error:
            found[name] = f"none: {error}"
    return found


def env(folder: Path) -> dict[str, str]:
    """borg's files stay in the folder, and it asks nothing."""
    return {
        "BORG_BASE_DIR": str(folder / "borg"),
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "XDG_RUNTIME_DIR": str(folder / "runtime"),
        "XDG_STATE_HOME": str(folder / "borgmatic-state"),
    }


def configure(folder: Path, name: str, body: dict[str, Any]) -> Path:
    """Write one configuration file; all of a folder's files share one repository."""
    folder.mkdir(parents=True, exist_ok=True)
    for needed in ("runtime", "borgmatic-state"):
        (folder / needed).mkdir(mode=0o700, exist_ok=True)
    whole = {
        "repositories": None,
        "encryption_passphrase": PASSPHRASE,
        "archive_name_format": name + "-{now}",
        "match_archives": f"sh:{name}-*",
        "keep_daily": 30,
        "keep_weekly": 52,
        "keep_monthly": 36,
        "keep_yearly": 5,
        **body,
    }
    del whole["repositories"]
    path = folder / f"{name}.yaml"
    # borgmatic's list of repositories is a list of mappings, which to_yaml has no need of elsewhere.
    path.write_text(f'repositories:\n  - path: "{folder / "borg-repository"}"\n    label: local\n' + to_yaml(whole))
    return path


def databases(kind: str, entries: list[dict[str, Any]]) -> str:
    """borgmatic's `*_databases` block as YAML."""
    lines = [f"{kind}:"]
    for entry in entries:
        lines += [
            f"  {'- ' if number == 0 else '  '}{key}: {_scalar(value)}"
            for number, (key, value) in enumerate(entry.items())
        ]
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    return to_yaml(value).strip()


def init(folder: Path) -> None:
    """Make the borg repository."""
    run(
        [borg(), "init", "--encryption=repokey-blake2", str(folder / "borg-repository")],
        {**env(folder), "BORG_PASSPHRASE": PASSPHRASE},
    )
