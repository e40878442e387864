"""A small company on disk: policy, services, a SQLite shop, a folder; and the program run as a user runs it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POLICY = """\
version: 1
host: test-host
parallel: 2
repositories:
  local: {{url: repository, password: {{file: key}}}}
retention:
  default: {{last: 7, daily: 30}}
restic: {{path: {restic}, nice: null, ionice: null}}
{more}
"""

SERVICES = """\
services:
  shop:
    databases:
      main: {engine: sqlite, path: data/shop.db}
    paths: [data/files]
"""


@dataclass
class Site:
    """One installation below `root`, isolated by RESGUARDO_STATE."""

    root: Path
    restic: str
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.root / "data" / "files").mkdir(parents=True)
        self.policy()
        self.services()

    def policy(self, more: str = "") -> None:
        (self.root / "policy.yml").write_text(POLICY.format(restic=self.restic, more=more))

    def services(self, text: str = SERVICES) -> None:
        (self.root / "services.yml").write_text(text)

    @property
    def state(self) -> Path:
        return self.root / "state"

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "LANG": "C.UTF-8",
            "RESGUARDO_STATE": str(self.state),
            "RESGUARDO_MACHINE": "machine-one",
            **self.env,
            **more,
        }

    def argv(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "orchestrator", "-c", str(self.root / "policy.yml"), *args]

    def run(
        self, *args: str, code: int | None = 0, timeout: float = 110, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; `code` is the exit code that it must have (None: any)."""
        done = subprocess.run(
            self.argv(*args),
            env=self.environment(**env),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd="/",
        )
        if code is not None and done.returncode != code:
            raise AssertionError(f"{args}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}")
        return done

    def json(self, *args: str, code: int | None = 0, timeout: float = 110, **env: str) -> Any:
        return json.loads(self.run("--json", *args, code=code, timeout=timeout, **env).stdout)

    def start(self, *args: str, **env: str) -> subprocess.Popen[bytes]:
        """Start a command in the background, its output thrown away, its signals as a shell gives them."""
        return subprocess.Popen(
            ["env", "--default-signal=INT,TERM,HUP", *self.argv(*args)],
            env=self.environment(**env),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )

    def points(self) -> list[Any]:
        return list(self.json("list")["restore_points"])

    def restic_json(self, *args: str) -> Any:
        """Ask restic itself, past our program."""
        done = subprocess.run(
            [
                self.restic,
                "-r",
                str(self.root / "repository"),
                "--password-file",
                str(self.root / "key"),
                "--no-lock",
                "--json",
                *args,
            ],
            env={"PATH": os.environ["PATH"], "RESTIC_CACHE_DIR": str(self.root / "plain-cache")},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return json.loads(done.stdout or "[]")

    def snapshots(self) -> list[Any]:
        return list(self.restic_json("snapshots"))

    def fill(self, rows: int = 200) -> None:
        """Make the shop and its files."""
        with closing(sqlite3.connect(self.root / "data" / "shop.db")) as database, database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, what TEXT NOT NULL, blob BLOB)"
            )
            database.executemany(
                "INSERT INTO orders (what, blob) VALUES (?, ?)", [(f"order {n}", os.urandom(200)) for n in range(rows)]
            )
        files = self.root / "data" / "files"
        (files / "one.txt").write_text("one\n")
        (files / "-dash 'quote' \"double\"\nnewline ü.bin").write_bytes(os.urandom(1000))
        (files / "folder").mkdir(exist_ok=True)
        (files / "folder" / "link").unlink(missing_ok=True)
        (files / "folder" / "link").symlink_to("../one.txt")

    def children(self) -> list[str]:
        """Command lines of living processes of this site: its paths occur in them, or a sentinel holds its journal."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes()
                environ = Path(f"/proc/{entry}/environ").read_bytes()
                state = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[0]
            except (OSError, IndexError):
                continue
            named = os.fsencode(self.root) in words or os.fsencode(self.root) in environ
            if state != "Z" and (named or self._guarded_by(entry, words)):
                found.append(f"{entry} {words!r}")
        return found

    def _guarded_by(self, pid: str, words: bytes) -> bool:
        """Whether this is a sentinel of ours: nothing but the journal that it holds says so."""
        try:
            return b"sentinel.py" in words and Path(f"/proc/{pid}/fd/4").readlink().is_relative_to(self.root)
        except OSError:
            return False

    def quiet_within(self, seconds: float) -> list[str]:
        """Wait until no process of this site lives; return those that still do."""
        until = time.monotonic() + seconds
        while (alive := self.children()) and time.monotonic() < until:
            time.sleep(0.05)
        return alive

    def plaintext(self) -> list[str]:
        """Files that hold data outside the repository and the originals: staging, sockets' folders, secrets."""
        places = [self.state / "runtime", self.state / "staging"]
        return [str(path) for place in places if place.exists() for path in place.rglob("*") if not path.is_dir()]


def rows_of(database: Path) -> list[Any]:
    """Return all orders by value and type."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT id, what, blob, typeof(id), typeof(what) FROM orders ORDER BY id").fetchall()
