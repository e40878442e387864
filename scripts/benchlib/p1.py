"""P1: how long the program takes to say its version, and to check the policy of ten services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchlib import borgmatic
from benchlib.bench import Bench
from benchlib.measure import Variant, in_turns
from benchlib.result import compare

NOT_COUNTED = """
- Files are in the page cache and Python's bytecode is compiled: one run of each is made before.
- borgmatic has one retention, one set of hooks and one name per file, so ten services are ten files; the row `all
  in one file` puts the same sources into a single one.
"""
_SERVICES = 10
_APPRISE = """apprise:
  states:
    - fail
  services:
    - url: ntfys://ntfy.example/ops
      label: ops
"""


def run(bench: Bench) -> None:
    folder = bench.folder / "p1"
    ours = _ours(bench)
    many, single = _theirs(folder / "borgmatic")
    program = borgmatic.program()
    environment = borgmatic.env(folder / "borgmatic")
    variants = [
        Variant("resguardo --version", [bench.resguardo, "--version"]),
        Variant("borgmatic --version", [program, "--version"], environment),
        Variant("resguardo validate", *bench.ours(ours, "validate")),
        Variant("borgmatic config validate", [program, "--config", str(many), "config", "validate"], environment),
        Variant(
            "borgmatic config validate, all in one file",
            [program, "--config", str(single), "config", "validate"],
            environment,
        ),
    ]
    in_turns(variants, 1, folder / "warm")
    version, their_version, validate, theirs, one_file = in_turns(variants, bench.rounds, folder / "logs")
    bench.report.rows += [
        compare("P1", "--version", version, their_version, target=0.25),
        compare("P1", "validate, 10 services", validate, theirs, target=0.10),
        compare("P1", "validate, 10 services", validate, one_file),
    ]


def _ours(bench: Bench) -> Path:
    services = {
        f"service-{number}": {
            "databases": {
                "main": {"engine": "postgresql", "host": "127.0.0.1", "user": "backup", "database": f"db{number}",
                         "password": {"env": "DB_PASSWORD"}},
                "cache": {"engine": "sqlite", "path": f"/srv/s{number}/cache.db"},
            },
            "paths": [f"/srv/s{number}/data", f"/srv/s{number}/.env"],
            "exclude": ["*.log", "cache/"],
        }
        for number in range(_SERVICES)
    }  # fmt: skip
    notify = {
        "channels": {"ops": {"url": {"env": "APPRISE_OPS_URL"}}},
        "rules": [{"on": ["failed", "warning", "recovered"], "to": ["ops"]}],
    }
    folder = bench.place("p1/ours")
    return bench.configure(str(folder.relative_to(bench.folder)), services, notify=notify)


def _theirs(folder: Path) -> tuple[Path, Path]:
    """Ten files of one service each, and one file of all."""
    many = folder / "services"
    for number in range(_SERVICES):
        path = borgmatic.configure(many, f"service-{number}", _body([number]))
        path.write_text(path.read_text() + _APPRISE + _databases([number]))
    everything = list(range(_SERVICES))
    single = borgmatic.configure(folder, "all", _body(everything))
    single.write_text(single.read_text() + _APPRISE + _databases(everything))
    for extra in ("runtime", "borgmatic-state"):
        (many / extra).rmdir()
    return many, single


def _body(numbers: list[int]) -> dict[str, Any]:
    return {
        "source_directories": [path for n in numbers for path in (f"/srv/s{n}/data", f"/srv/s{n}/.env")],
        "exclude_patterns": ["*.log", "cache/"],
    }


def _databases(numbers: list[int]) -> str:
    return borgmatic.databases(
        "postgresql_databases",
        [{"name": f"db{n}", "hostname": "127.0.0.1", "username": "backup", "password": "x"} for n in numbers],
    ) + borgmatic.databases("sqlite_databases", [{"name": "cache", "path": f"/srv/s{n}/cache.db"} for n in numbers])
