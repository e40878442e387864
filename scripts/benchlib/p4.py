"""P4: new data per day over five days of changes."""

from __future__ import annotations

import shlex

from benchlib.bench import Bench, size_of
from benchlib.bench import run as run_command
from benchlib.measure import say
from benchlib.postgres import Server, pipeline, server
from benchlib.result import Row

NOT_COUNTED = """
- A figure is the growth of the repository's folder over days 1 to 5, day 0 apart; sizes need no rounds.
- The database is 300 MB (a third of the text changes in 1 % of its rows a day): the ratios do not depend on the
  size, and three ways of storing twelve dumps of 1 GB would only take longer.
- All three ways dump the same state, one after the other.
- Ours also stores a manifest and a commit per day: they are in its figure.
"""
SIZE = 300_000_000
DAYS = 5


def run(bench: Bench) -> None:
    size = f"{SIZE * bench.scale / 1e6:,.0f} MB PostgreSQL"
    for scattered in (False, True):
        words = "scattered" if scattered else "contiguous"
        with server() as pg:
            say(f"P4: making the database, {words}")
            database = f"daily_{words}"
            pg.create(database, int(SIZE * bench.scale))
            added = _days(bench, pg, database, scattered=scattered)
        ours, pipe, files = (added[name] for name in ("ours", "pipe", "files"))
        megabytes = {name: [size / 1e6 for size in sizes] for name, sizes in added.items()}
        bench.report.facts[f"P4, 1 % {words}: MB per day, day 0 first"] = megabytes
        for theirs, against, target in ((pipe, "pg_dump | restic --stdin", 1.05), (files, "-Fc | gzip -9 files", None)):
            bench.report.rows.append(
                Row("P4", f"new data, {size}, 5 days, 1 % {words}", "MB", "ratio", [sum(ours[1:]) / 1e6],
                    [sum(theirs[1:]) / 1e6], against, target)
            )  # fmt: skip


def _days(bench: Bench, pg: Server, database: str, *, scattered: bool) -> dict[str, list[int]]:
    ours, pipe = bench.place(f"p4/{database}-ours"), bench.place(f"p4/{database}-pipe")
    files = bench.folder / f"p4/{database}-files"
    files.mkdir(parents=True)
    bench.configure(f"p4/{database}-ours", {"shop": {"databases": {"main": pg.source(database)}}})
    store = [bench.restic, "backup", "-q", "--host", "bench", "--stdin", "--stdin-filename", "main.sql"]
    compressed = shlex.join(pg.tool("pg_dump", database, "-Fc"))
    added: dict[str, list[int]] = {"ours": [], "pipe": [], "files": []}
    sizes = {"ours": size_of(ours / "repository"), "pipe": size_of(pipe / "repository"), "files": 0}
    for day in range(DAYS + 1):
        if day:
            pg.change(database, day, scattered=scattered)
        bench.run_ours(ours, "backup", "--no-verify")
        run_command(pipeline(pg.tool("pg_dump", database), store), bench.restic_env(pipe))
        target = shlex.quote(str(files / f"day{day}.dump.gz"))
        run_command(["bash", "-c", f"set -o pipefail; {compressed} | gzip -9 > {target}"], {})
        now = {"ours": size_of(ours / "repository"), "pipe": size_of(pipe / "repository"), "files": size_of(files)}
        for name, size in now.items():
            added[name].append(size - sizes[name])
        sizes = now
        say(f"  day {day}: " + ", ".join(f"{name} {sizes[-1] / 1e6:.2f} MB" for name, sizes in added.items()))
    return added
