"""P6: many small databases: fifty in one service, and ten small services."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from benchlib import borgmatic, data, mariadb
from benchlib.bench import Bench
from benchlib.measure import NotMeasured, Series, Variant, in_turns, say
from benchlib.postgres import USER, Server, server
from benchlib.result import compare

NOT_COUNTED = """
- All ways dump in plain format; one backup was made before, so all runs are warm; nothing changes between them.
- borgmatic runs `create` alone, without its checks and retention, with borg's encryption repokey-blake2. borg is
  another program than restic: the row compares what a user waits for, not the wrappers alone.
- One stream each: `pg_dump | restic backup --stdin`, and so with `mariadb-dump` and `sqlite3 .dump`, one after the
  other.
- Ours runs with --no-verify; retention is not due; counts and globals are off where that can be chosen (the others have
  neither): rows of a MariaDB dump are counted always, as they pass.
- Both dump each PostgreSQL and MariaDB database as an entry of its own, over TCP.
"""
SIZE = 1_000_000
MANY = 25
SERVICES = 10


def run(bench: Bench) -> None:
    many = max(int(MANY * min(bench.scale * 10, 1)), 2)
    services = max(int(SERVICES * min(bench.scale * 10, 1)), 2)
    folder = bench.folder / "p6"
    folder.mkdir()
    with server() as pg, mariadb.server() as maria:
        say("P6: making the databases")
        kinds: dict[str, _Kind] = {"pg": _Postgresql(pg), "maria": _Mariadb(maria)}
        for number in range(many):
            for kind in kinds.values():
                kind.create(number)
        label = f"{many} PostgreSQL + {many} MariaDB databases of 1 MB, one service"
        _measure(bench, kinds, label, "one", {"fleet": list(range(many))}, 1 / 12)
        kinds = {"pg": kinds["pg"], "lite": _Sqlite(folder)}
        for number in range(services):
            for name, kind in kinds.items():
                if name == "lite" or number >= many:
                    kind.create(number)
        groups = {f"s{number}": [number] for number in range(services)}
        _measure(bench, kinds, f"{services} services of 1 + 1 databases of 1 MB", "ten", groups, None)


class _Kind(Protocol):
    """One kind of small database: for us, for a pipe, and for borgmatic (hook's name and entry)."""

    hook: str

    def create(self, number: int) -> None: ...
    def source(self, number: int) -> dict[str, Any]: ...
    def dump(self, number: int) -> list[str]: ...
    def entry(self, number: int) -> dict[str, Any]: ...


class _Postgresql:
    hook = "postgresql_databases"

    def __init__(self, pg: Server) -> None:
        self._pg = pg

    def create(self, number: int) -> None:
        self._pg.create(f"small{number}", SIZE)

    def source(self, number: int) -> dict[str, Any]:
        return self._pg.source(f"small{number}", counts="none")

    def dump(self, number: int) -> list[str]:
        return self._pg.tool("pg_dump", f"small{number}")

    def entry(self, number: int) -> dict[str, Any]:
        where = {"hostname": self._pg.host, "port": self._pg.port, "username": USER}
        return {"name": f"small{number}", **where, "format": "plain"}


class _Mariadb:
    hook = "mariadb_databases"

    def __init__(self, maria: mariadb.Server) -> None:
        self._maria = maria

    def create(self, number: int) -> None:
        self._maria.create(f"small{number}", SIZE)

    def source(self, number: int) -> dict[str, Any]:
        return self._maria.source(f"small{number}")

    def dump(self, number: int) -> list[str]:
        return self._maria.dump(f"small{number}")

    def entry(self, number: int) -> dict[str, Any]:
        where = {"hostname": self._maria.host, "port": self._maria.port, "username": self._maria.user}
        return {"name": f"small{number}", **where}


class _Sqlite:
    hook = "sqlite_databases"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, number: int) -> Path:
        return self._folder / f"small{number}.db"

    def create(self, number: int) -> None:
        data.sqlite_database(self._path(number), SIZE, number)

    def source(self, number: int) -> dict[str, Any]:
        return {"engine": "sqlite", "path": str(self._path(number))}

    def dump(self, number: int) -> list[str]:
        return ["sqlite3", "-readonly", str(self._path(number)), ".dump"]

    def entry(self, number: int) -> dict[str, Any]:
        return {"name": f"lite{number}", "path": str(self._path(number))}


def _measure(
    bench: Bench, kinds: Mapping[str, _Kind], label: str, name: str, groups: dict[str, list[int]], target: float | None
) -> None:
    folder = bench.folder / "p6"
    place = bench.place(f"p6/{name}")
    bench.configure(f"p6/{name}", {group: {"databases": _sources(kinds, numbers)} for group, numbers in groups.items()})
    streams = bench.place(f"p6/{name}-streams")
    variants = [
        Variant("resguardo backup", *bench.ours(place, "backup", "--no-verify")),
        Variant("one stream each", ["bash", "-c", _streams(bench, kinds, groups)], bench.restic_env(streams)),
    ]
    problem = ""
    try:
        variants.append(_borgmatic(kinds, folder, name, groups))
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


def _sources(kinds: Mapping[str, _Kind], numbers: list[int]) -> dict[str, Any]:
    return {f"{name}{n}": kind.source(n) for name, kind in kinds.items() for n in numbers}


def _streams(bench: Bench, kinds: Mapping[str, _Kind], groups: dict[str, list[int]]) -> str:
    lines = ["set -e -o pipefail"]
    for number in (number for numbers in groups.values() for number in numbers):
        for name, kind in kinds.items():
            store = [bench.restic, "backup", "-q", "--host", "bench", "--stdin", "--stdin-filename", f"{name}{number}"]
            lines.append(f"{shlex.join(kind.dump(number))} | {shlex.join(store)}")
    return "\n".join(lines)


def _borgmatic(kinds: Mapping[str, _Kind], folder: Path, name: str, groups: dict[str, list[int]]) -> Variant:
    place = folder / f"{name}-borgmatic"
    borg = borgmatic.borg()
    paths = []
    for group, numbers in groups.items():
        path = borgmatic.configure(place, group, {"local_path": borg})
        hooks = [borgmatic.databases(kind.hook, [kind.entry(n) for n in numbers]) for kind in kinds.values()]
        path.write_text(path.read_text() + "".join(hooks))
        paths.append(str(path))
    borgmatic.init(place)
    configs = [word for path in paths for word in ("--config", path)]
    return Variant("borgmatic create", [borgmatic.program(), *configs, "create"], borgmatic.env(place))
