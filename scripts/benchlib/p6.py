"""P6: many small databases: fifty in one service, and ten small services."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from benchlib import borgmatic, data
from benchlib.bench import Bench
from benchlib.measure import NotMeasured, Series, Variant, in_turns, say
from benchlib.postgres import USER, Server, server
from benchlib.result import compare

NOT_COUNTED = """
- All ways dump in plain format; one backup was made before, so all runs are warm; nothing changes between them.
- borgmatic runs `create` alone, without its checks and retention, with borg's encryption repokey-blake2. borg is
  another program than restic: the row compares what a user waits for, not the wrappers alone.
- One stream each: `pg_dump | restic backup --stdin` and `sqlite3 .dump | restic backup --stdin`, one after the
  other.
- Ours runs with --no-verify; retention is not due; counts and globals are off (the others have neither).
"""
SIZE = 1_000_000
MANY = 25
SERVICES = 10


def run(bench: Bench) -> None:
    many = max(int(MANY * min(bench.scale * 10, 1)), 2)
    services = max(int(SERVICES * min(bench.scale * 10, 1)), 2)
    with server() as pg:
        say("P6: making the databases")
        folder = bench.folder / "p6"
        folder.mkdir()
        for number in range(max(many, services)):
            pg.create(f"small{number}", SIZE)
            data.sqlite_database(folder / f"small{number}.db", SIZE, number)
        groups = {"fleet": list(range(many))}
        _measure(bench, pg, f"{many} + {many} databases of 1 MB, one service", "one", groups, 1 / 12)
        groups = {f"s{number}": [number] for number in range(services)}
        _measure(bench, pg, f"{services} services of 1 + 1 databases of 1 MB", "ten", groups, None)


def _measure(
    bench: Bench, pg: Server, label: str, name: str, groups: dict[str, list[int]], target: float | None
) -> None:
    folder = bench.folder / "p6"
    place = bench.place(f"p6/{name}")
    bench.configure(
        f"p6/{name}", {group: {"databases": _sources(pg, folder, numbers)} for group, numbers in groups.items()}
    )
    streams = bench.place(f"p6/{name}-streams")
    variants = [
        Variant("resguardo backup", *bench.ours(place, "backup", "--no-verify")),
        Variant("one stream each", ["bash", "-c", _streams(bench, pg, folder, groups)], bench.restic_env(streams)),
    ]
    problem = ""
    try:
        variants.append(_borgmatic(pg, folder, name, groups))
    except NotMeasured as error:
        problem = str(error)
    in_turns(variants, 1, folder / f"{name}-warm")
    ours, each, *rest = in_turns(variants, bench.rounds, folder / f"{name}-logs")
    theirs = rest[0] if rest else Series("borgmatic create", problem=problem)
    bench.report.rows += [
        compare("P6", label, ours, theirs, target=0.5),
        compare("P6", label, ours, each, target=target),
    ]
    if not ours.problem:
        count = bench.count_processes(place, "backup", "--no-verify")
        bench.report.facts[f"P6 restic processes, {label}"] = count


def _sources(pg: Server, folder: Path, numbers: list[int]) -> dict[str, Any]:
    sources: dict[str, Any] = {f"pg{n}": pg.source(f"small{n}", counts="none") for n in numbers}
    return sources | {f"lite{n}": {"engine": "sqlite", "path": str(folder / f"small{n}.db")} for n in numbers}


def _streams(bench: Bench, pg: Server, folder: Path, groups: dict[str, list[int]]) -> str:
    lines = ["set -e -o pipefail"]
    for number in (number for numbers in groups.values() for number in numbers):
        sqlite = ["sqlite3", "-readonly", str(folder / f"small{number}.db"), ".dump"]
        for kind, dump in (("pg", pg.tool("pg_dump", f"small{number}")), ("lite", sqlite)):
            store = [bench.restic, "backup", "-q", "--host", "bench", "--stdin", "--stdin-filename", f"{kind}{number}"]
            lines.append(f"{shlex.join(dump)} | {shlex.join(store)}")
    return "\n".join(lines)


def _borgmatic(pg: Server, folder: Path, name: str, groups: dict[str, list[int]]) -> Variant:
    place = folder / f"{name}-borgmatic"
    borg = borgmatic.borg()
    paths = []
    for group, numbers in groups.items():
        path = borgmatic.configure(place, group, {"local_path": borg})
        postgresql = [
            {"name": f"small{n}", "hostname": pg.host, "port": pg.port, "username": USER, "format": "plain"}
            for n in numbers
        ]
        lite = [{"name": f"lite{n}", "path": str(folder / f"small{n}.db")} for n in numbers]
        path.write_text(
            path.read_text()
            + borgmatic.databases("postgresql_databases", postgresql)
            + borgmatic.databases("sqlite_databases", lite)
        )
        paths.append(str(path))
    borgmatic.init(place)
    configs = [word for path in paths for word in ("--config", path)]
    return Variant("borgmatic create", [borgmatic.program(), *configs, "create"], borgmatic.env(place))
