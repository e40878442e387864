"""P9: memory of our own processes while 5 GB stream, alone and side by side."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchlib.bench import Bench
from benchlib.measure import NotMeasured, clean_env, say
from benchlib.postgres import Server, server
from benchlib.result import Row

NOT_COUNTED = """
- Proportional set size (Pss of smaps_rollup) of all processes that our command started, summed, sampled five times
  a second; restic, pg_dump and psql are left out. Pages shared with other Python programs count in part.
- The figure is the highest sample. `growth` compares the medians of the middle and the last third.
- The further streams are dumps of the same database by another source; parallel is the number of streams.
"""
SIZE = 5_000_000_000
LEFT_OUT = frozenset({"restic", "pg_dump", "psql", "postgres"})
_CREATE = """
CREATE TABLE wide AS SELECT n, repeat(md5(n::text), 60) AS filler FROM generate_series(1, {rows}) n
"""


@dataclass
class Watch:
    """Samples in MiB, and the most processes seen at once by program."""

    samples: list[float] = field(default_factory=list)
    programs: dict[str, int] = field(default_factory=dict)


def run(bench: Bench) -> None:
    with server() as pg:
        say("P9: making the database")
        pg.sql("postgres", "CREATE DATABASE wide")
        # Below 2 kB a row stays uncompressed in the table, so that its making is fast; the dump is what counts.
        pg.sql("wide", _CREATE.format(rows=max(int(SIZE * bench.scale) // 1930, 1000)))
        watches = {streams: _watch(bench, pg, streams) for streams in (1, 2, 3)}
    peaks = {streams: max(watch.samples) for streams, watch in watches.items()}
    bench.report.facts["P9 processes at once, by program"] = {str(k): watch.programs for k, watch in watches.items()}
    bench.report.facts["P9 samples"] = {str(k): len(watch.samples) for k, watch in watches.items()}
    size = f"{SIZE * bench.scale / 1e9:.1f} GB each"
    bench.report.rows += [
        Row("P9", f"Pss, one stream, {size}", "MB", "value", [peaks[1]], target=80),
        Row("P9", "Pss, second stream more", "MB", "difference", [peaks[2]], [peaks[1]], "one stream", 16),
        Row("P9", "Pss, third stream more", "MB", "difference", [peaks[3]], [peaks[2]], "two streams", 16),
        Row("P9", "Pss, growth while one streams", "MB", "value", [_growth(watches[1].samples)], target=2),
    ]


def _growth(samples: list[float]) -> float:
    third = max(len(samples) // 3, 1)
    return median(samples[-third:]) - median(samples[third : 2 * third] or samples)


def _watch(bench: Bench, pg: Server, streams: int) -> Watch:
    name = f"p9/{streams}"
    place = bench.place(name)
    sources = {f"db{number}": pg.source("wide", counts="none") for number in range(streams)}
    bench.configure(name, {"big": {"databases": sources}}, parallel=streams)
    argv, env = bench.ours(place, "backup", "--no-verify")
    watch = Watch()
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(argv, env=clean_env(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while process.poll() is None:
            _sample(process.pid, watch)
            time.sleep(0.2)
    if process.returncode:
        raise NotMeasured(f"P9: exit {process.returncode}: {(place / 'log').read_text(errors='replace')[-600:]}")
    say(f"  {streams}: highest {max(watch.samples):.1f} MB in {len(watch.samples)} samples")
    return watch


def _sample(root: int, watch: Watch) -> None:
    total = 0.0
    seen: dict[str, int] = {}
    for pid in _tree(root):
        with contextlib.suppress(OSError):
            program = os.path.basename(os.readlink(f"/proc/{pid}/exe")).split("-0")[0].split("-1")[0]
            if program in LEFT_OUT:
                continue
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6
            seen[program] = seen.get(program, 0) + 1
    if total:
        watch.samples.append(total)
    for program, count in seen.items():
        watch.programs[program] = max(watch.programs.get(program, 0), count)


def _tree(root: int) -> list[int]:
    """The process and all its descendants: the pumps are restic's children, and ours."""
    found = [root]
    for pid in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                found += [int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    return found
