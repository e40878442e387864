"""P3: a PostgreSQL database of 1 GB into the repository, for the first time and after 1 % of it has changed."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from benchlib.bench import Bench
from benchlib.measure import Series, Variant, in_turns, say
from benchlib.postgres import Server, pipeline, server
from benchlib.result import compare

NOT_COUNTED = """
- The server's own CPU time, which is the same for all; its wall time is in all. CPU is that of the whole tree of
  the measured command: ours with pump, pg_dump and restic; theirs with pg_dump, shell and restic.
- Wall is compared with `pg_dump | restic backup --stdin`, which stores a cut dump as a good one; CPU with `restic
  backup --stdin-from-command -- cat` fed by pg_dump, plus one no-op `restic backup` of one file.
- The main rows use counts: none and globals: false, which is what the pipe does; counting in the dump's own
  snapshot, and all defaults, are rows apart.
- Each round starts from a copy of one repository in use: it holds backups of a small file, nothing is due. What the
  very first run after `init` costs more is a row of P2. Ours runs with --no-verify.
- 1 % contiguous updates move rows to the table's end; autovacuum is off, fsync of the server too.
"""
SIZE = 1_000_000_000
DATABASE = "bench"
FIFO_FEED = 'mkfifo "$0"; {dump} > "$0" & {restic} -- cat "$0"; result=$?; wait; rm "$0"; {noop}; exit $result'


def run(bench: Bench) -> None:
    with server() as pg:
        say("P3: making the database")
        pg.create(DATABASE, int(SIZE * bench.scale))
        folder = bench.folder / "p3"
        _configure(bench, pg)
        variants = _variants(bench, pg, folder)
        first = [Series(variant.name) for variant in variants]
        second = [Series(variant.name) for variant in variants]
        for number in range(bench.rounds):
            for name in ("ours", "counted", "default", "pipe", "cat"):
                bench.place(f"p3/{name}", used=True)
            in_turns(variants, 1, folder / "first", series=first)
            pg.change(DATABASE, number + 1, scattered=False)
            in_turns(variants, 1, folder / "second", series=second)
    size = f"{SIZE * bench.scale / 1e6:,.0f} MB"
    for words, (ours, counted, default, pipe, cat) in (("first", first), ("after 1 %", second)):
        bench.report.rows += [
            compare("P3", f"{size} PostgreSQL, {words}, wall", ours, pipe, target=1.06),
            compare("P3", f"{size} PostgreSQL, {words}, CPU", ours, cat, measure="cpu", target=1.06),
            compare("P3", f"{size} PostgreSQL, {words}, with counting, wall", counted, pipe),
            compare("P3", f"{size} PostgreSQL, {words}, with counting, CPU", counted, cat, measure="cpu"),
            compare("P3", f"{size} PostgreSQL, {words}, all defaults (counting, globals), wall", default, pipe),
        ]


def _configure(bench: Bench, pg: Server) -> None:
    options: dict[str, dict[str, Any]] = {
        "ours": {"counts": "none"}, "counted": {"counts": "exact"}, "default": {"globals": True},
    }  # fmt: skip
    for name, extra in options.items():
        bench.configure(f"p3/{name}", {"shop": {"databases": {"main": pg.source(DATABASE, **extra)}}})


def _variants(bench: Bench, pg: Server, folder: Path) -> list[Variant]:
    dump = pg.tool("pg_dump", DATABASE)
    store = [bench.restic, "backup", "-q", "--host", "bench", "--stdin-filename", "main.sql"]
    tiny = folder / "tiny"
    tiny.mkdir(parents=True)
    (tiny / "file").write_text("nothing changes here\n")
    fifo = folder / "fifo"
    fed = FIFO_FEED.format(
        dump=shlex.join(dump),
        restic=shlex.join([*store, "--stdin-from-command"]),
        noop=shlex.join([bench.restic, "backup", "-q", "--host", "bench", str(tiny)]),
    )

    def no_fifo() -> None:
        if fifo.exists():
            os.unlink(fifo)

    return [
        Variant("resguardo backup", *bench.ours(folder / "ours", "backup", "--no-verify")),
        Variant("resguardo backup, counting", *bench.ours(folder / "counted", "backup", "--no-verify")),
        Variant("resguardo backup, defaults", *bench.ours(folder / "default", "backup", "--no-verify")),
        Variant("pg_dump | restic --stdin", pipeline(dump, [*store, "--stdin"]), bench.restic_env(folder / "pipe")),
        Variant("restic -- cat + no-op", ["bash", "-c", fed, str(fifo)], bench.restic_env(folder / "cat"), no_fifo),
    ]
