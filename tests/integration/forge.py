"""Writes snapshot files into a local restic repository directly, in the repository's own format.

Comparing our retention with restic's over thousands of snapshots needs them by the dozen per example.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.weak_key import Key, weaken

PASSWORD = "forged"


@dataclass
class Forge:
    """One local repository whose snapshots are written by us. `restic` is the binary that reads it."""

    restic: str
    path: Path
    cache: Path
    master: Key = field(default_factory=lambda: Key(b"", b"", b""))

    def call(self, *argv: str, zone: str = "UTC") -> str:
        """Run restic on the repository; return stdout."""
        env = {
            "PATH": os.environ["PATH"],
            "RESTIC_REPOSITORY": str(self.path),
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_CACHE_DIR": str(self.cache),
            "TZ": zone,
        }
        done = subprocess.run([self.restic, *argv], env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self) -> None:
        """Make the repository with restic, and take its master key."""
        self.call("init")
        self.master = weaken(self.path, PASSWORD)

    def snapshots(self, times: Iterable[datetime]) -> dict[str, datetime]:
        """Replace all snapshots by one for each time; return ID → time."""
        for old in (self.path / "snapshots").iterdir():
            old.unlink()
        return {self._snapshot(time): time for time in times}

    def _snapshot(self, time: datetime) -> str:
        body = {"time": time.isoformat(), "tree": "0" * 64, "paths": ["/x"], "hostname": "h", "username": "u"}
        return self._store("snapshots", self.master.seal(json.dumps(body).encode()))

    def _store(self, kind: str, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        (self.path / kind / name).write_bytes(data)
        return name
