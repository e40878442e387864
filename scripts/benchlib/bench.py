"""What all cases share: sizes, the folder, the programs, and one initialised repository to copy."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchlib.measure import NotMeasured, clean_env
from benchlib.result import Report

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Bench:
    """folder: everything is made below it · scale: 1 for the real sizes, less for --quick."""

    folder: Path
    rounds: int
    scale: float
    report: Report
    made: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def resguardo(self) -> str:
        return _program("resguardo", ROOT / ".venv/bin/resguardo")

    @cached_property
    def restic(self) -> str:
        """RESTIC, else the newest of .tools/bin, else that on PATH."""
        given = os.environ.get("RESTIC")
        if given:
            return given
        installed = sorted((ROOT / ".tools/bin").glob("restic-*"))
        return str(installed[-1]) if installed else _program("restic", Path("/usr/bin/restic"))

    @cached_property
    def template(self) -> Path:
        """One repository for all: what a key costs to open is fixed, by chance, when a repository is made."""
        folder = self.folder / "template"
        folder.mkdir()
        (folder / "key").write_text(secrets.token_hex(32) + "\n")
        (folder / "key").chmod(0o600)
        env = clean_env({**self.restic_env(folder), "RESTIC_CACHE_DIR": str(folder / "cache")})
        subprocess.run([self.restic, "init", "-q"], env=env, check=True, timeout=120)
        return folder

    def restic_env(self, folder: Path) -> dict[str, str]:
        """The environment of bare restic for the repository in `folder`."""
        return {
            "RESTIC_REPOSITORY": str(folder / "repository"),
            "RESTIC_PASSWORD_FILE": str(folder / "key"),
            "RESTIC_CACHE_DIR": str(folder / "cache"),
            "RESTIC_PROGRESS_FPS": "0.1",
        }

    @cached_property
    def used(self) -> Path:
        """A place whose repository, state and cache have seen three backups of one small file, so nothing is due."""
        folder = self.place("used")
        (folder / "tiny").mkdir()
        (folder / "tiny/file").write_text("nothing changes here\n")
        self.configure("used", {"tiny": {"paths": [str(folder / "tiny")]}})
        for _ in range(3):
            self.run_ours(folder, "backup", "--no-verify")
        return folder

    def place(self, name: str, *, used: bool = False) -> Path:
        """A folder of this name with a fresh copy of the repository; what was there goes.

        used=False: nothing is remembered, as right after `init`. used=True: as in an installation in use, with restic's
        cache for bare restic as well.
        """
        folder = self.folder / name
        for old in ("repository", "cache", "state"):
            shutil.rmtree(folder / old, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        origin = self.used if used else self.template
        shutil.copytree(origin / "repository", folder / "repository")
        shutil.copy2(origin / "key", folder / "key")
        if used:
            shutil.copytree(origin / "state", folder / "state")
            shutil.copytree(origin / "state/cache", folder / "cache")
        return folder

    def configure(self, name: str, services: dict[str, Any], **policy: Any) -> Path:
        """Write policy.yml and services.yml into a place and return it."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        body = {
            "version": 1,
            "host": "bench",
            "repositories": {"local": {"url": "repository", "password": {"file": "key"}}},
            "retention": {"default": {"last": 7, "daily": 30, "weekly": 52, "monthly": 36, "yearly": 5}},
            **policy,
        }
        body["restic"] = {"path": self.restic, **policy.get("restic", {})}
        (folder / "policy.yml").write_text(to_yaml(body))
        (folder / "services.yml").write_text(to_yaml({"services": services}))
        return folder

    def ours(self, folder: Path, *words: str) -> tuple[list[str], dict[str, str]]:
        """Our command line for the policy in `folder`, and its environment."""
        return [self.resguardo, "-q", "-c", str(folder / "policy.yml"), *words], self.our_env(folder)

    def our_env(self, folder: Path) -> dict[str, str]:
        return {"RESGUARDO_STATE": str(folder / "state")}

    def run_ours(self, folder: Path, *words: str, prefix: tuple[str, ...] = ()) -> str:
        """Run our command unmeasured. Raises NotMeasured when it fails."""
        argv, env = self.ours(folder, *words)
        return run([*prefix, *argv], env)

    def count_processes(self, folder: Path, *words: str) -> int:
        """How many restic processes one of our commands starts: counted by a shim in restic's place, not measured."""
        shim, log = folder / "restic-shim", folder / "restic-calls"
        shim.write_text(f'#!/bin/sh\necho "$*" >> {log}\nexec {self.restic} "$@"\n')
        shim.chmod(0o755)
        policy = (folder / "policy.yml").read_text()
        try:
            (folder / "policy.yml").write_text(policy.replace(json.dumps(self.restic), json.dumps(str(shim))))
            self.run_ours(folder, *words)  # learns the shim's version, which is not part of a usual run
            log.unlink(missing_ok=True)
            time.sleep(1.5)  # a retention that is due after 1 s shall be due
            self.run_ours(folder, *words)
            return len(log.read_text().splitlines())
        finally:
            (folder / "policy.yml").write_text(policy)


def run(argv: list[str], env: dict[str, str]) -> str:
    """Run a command unmeasured. Raises NotMeasured when it fails."""
    done = subprocess.run(
        argv,
        env=clean_env(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
        errors="replace",
    )
    if done.returncode:
        raise NotMeasured(f"{' '.join(argv)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


def _program(name: str, usual: Path) -> str:
    found = str(usual) if usual.exists() else shutil.which(name)
    if not found:
        raise NotMeasured(f"{name} is not installed: neither {usual} nor on PATH")
    return found


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())


def to_yaml(value: Any, indent: int = 0) -> str:
    """Block-style YAML, as people write it; scalars are JSON's."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(
            f"{pad}{key}:\n{to_yaml(one, indent + 1)}" if isinstance(one, dict | list) and one else
            f"{pad}{key}: {json.dumps(one)}\n"
            for key, one in value.items()
        )  # fmt: skip
    if isinstance(value, list) and value:
        return "".join(f"{pad}- {json.dumps(one)}\n" for one in value)
    return f"{pad}{json.dumps(value)}\n"
