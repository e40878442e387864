"""P2: a warm run of one service of files, without and with retention, and ten days of them."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

from benchlib import data
from benchlib.bench import Bench
from benchlib.measure import Series, Variant, in_turns
from benchlib.result import Row, compare

NOT_COUNTED = """
- Warm: two backups were made before, the files are in the page cache, nothing has changed since.
- Ours runs with --no-verify: bare restic checks nothing either.
- Retention rules on both sides: last 3, daily 5. `retention in every run` sets tidy.forget to 1s; the shipped
  default is weekly.
- Ten days: our clock is moved a day further before each run (faketime), bare restic gets --time for its snapshots;
  one file changes each day. A figure is the sum of ten runs. Ours applies retention when it is due, by the default
  tidy.forget of 7d; bare restic runs `forget` every day. Neither frees space (`prune`).
- Processes are counted in a run apart by a shim in restic's place; the program's own `restic version` is cached.
"""
RULES = {"last": 3, "daily": 5}
KEEP = ["--keep-last", "3", "--keep-daily", "5", "--group-by", "host,tags"]
BACKUP = ["backup", "-q", "--host", "bench", "--tag", "files"]
SIZES = (("50 files", 50, 20_000), ("20,000 files, 1 GB", 20_000, 50_000))


def run(bench: Bench) -> None:
    for words, files, size in SIZES:
        count = files if files <= 50 else max(int(files * bench.scale), 50)
        label = words if count == files else f"{count:,} files (quick)"
        folder = bench.folder / f"p2-{files}"
        tree = data.tree(folder / "tree", count, size)
        _warm(bench, label, folder, tree)
        if files == count == 50:
            _first(bench, label, folder, tree)
        _ten_days(bench, label, folder, tree)
        shutil.rmtree(folder)


def _services(tree: Path) -> dict[str, Any]:
    return {"web": {"paths": [str(tree)]}}


def _warm(bench: Bench, label: str, folder: Path, tree: Path) -> None:
    name = folder.name
    plain, kept = bench.place(f"{name}/ours"), bench.place(f"{name}/ours-kept")
    bench.configure(f"{name}/ours", _services(tree), retention={"default": RULES})
    bench.configure(f"{name}/ours-kept", _services(tree), retention={"default": RULES}, tidy={"forget": "1s"})
    bare, bare_kept = bench.place(f"{name}/bare"), bench.place(f"{name}/bare-kept")
    backup = [bench.restic, *BACKUP, str(tree)]
    forget = [bench.restic, "forget", "-q", *KEEP]
    variants = [
        Variant("resguardo backup", *bench.ours(plain, "backup", "--no-verify")),
        Variant("restic backup", backup, bench.restic_env(bare)),
        Variant("resguardo backup, retention in every run", *bench.ours(kept, "backup", "--no-verify")),
        Variant(
            "restic backup + forget",
            ["bash", "-c", f"{shlex.join(backup)} && {shlex.join(forget)}"],
            bench.restic_env(bare_kept),
        ),
    ]
    in_turns(variants, 2, folder / "warm")
    ours, theirs, ours_kept, theirs_kept = in_turns(variants, bench.rounds, folder / "logs")
    bench.report.rows += [
        compare("P2", f"warm run, {label}", ours, theirs, kind="difference", target=0.50),
        compare("P2", f"warm run, {label}", ours, theirs),
        compare("P2", f"warm run, {label}, CPU", ours, theirs, measure="cpu"),
        compare("P2", f"warm run with retention in it, {label}", ours_kept, theirs_kept),
        _processes(bench, f"restic processes, {label}, no retention due", plain, 1, 2.0),
        _processes(bench, f"restic processes, {label}, with retention", kept, 2, None),
    ]


def _first(bench: Bench, label: str, folder: Path, tree: Path) -> None:
    """What the very first run after `init` costs: it learns the repository and its rules."""
    name = folder.name
    bench.configure(f"{name}/first", _services(tree))
    ours = Variant(
        "resguardo backup, the first",
        *bench.ours(folder / "first", "backup", "--no-verify"),
        lambda: bench.place(f"{name}/first") and None,
    )
    bare = Variant(
        "restic backup, the first",
        [bench.restic, *BACKUP, str(tree)],
        bench.restic_env(folder / "bare-first"),
        lambda: bench.place(f"{name}/bare-first") and None,
    )
    first, theirs = in_turns([ours, bare], bench.rounds, folder / "first-logs")
    bench.report.rows.append(compare("P2", f"first run after init, {label}", first, theirs, kind="difference"))


def _processes(bench: Bench, what: str, place: Path, bare: int, target: float | None) -> Row:
    count = bench.count_processes(place, "backup", "--no-verify")
    return Row("P2", f"{what} (bare: {bare})", "", "value", [count], target=target)


def _ten_days(bench: Bench, label: str, folder: Path, tree: Path) -> None:
    name = folder.name
    bench.configure(f"{name}/days", _services(tree), retention={"default": RULES})
    ours, env = bench.ours(folder / "days", "backup", "--no-verify")
    change = f'echo "$day" > {shlex.quote(str(tree / "changed"))}'
    first = '$(date -d "+$day days" "+%Y-%m-%d %H:%M:%S")'
    bare = f'{shlex.join([bench.restic, *BACKUP])} --time "{first}" {shlex.quote(str(tree))}'
    forget = shlex.join([bench.restic, "forget", "-q", *KEEP])
    loop = "set -e; for day in 1 2 3 4 5 6 7 8 9 10; do {}; done"
    fake = shutil.which("faketime")
    if not fake:
        series = Series("ten days", problem="faketime is not installed")
        bench.report.rows.append(compare("P2", f"ten days with retention, {label}", series, series, target=1.0))
        return
    variants = [
        Variant(
            "resguardo backup, ten days",
            ["bash", "-c", loop.format(f'{change}; {fake} -f "+${{day}}d" {shlex.join(ours)}')],
            env,
            lambda: bench.place(f"{name}/days") and None,
        ),
        Variant(
            "restic backup + forget, ten days",
            ["bash", "-c", loop.format(f"{change}; {bare}; {forget}")],
            bench.restic_env(folder / "bare-days"),
            lambda: bench.place(f"{name}/bare-days") and None,
        ),
    ]
    days, bare_days = in_turns(variants, bench.rounds, folder / "days-logs")
    bench.report.rows.append(compare("P2", f"ten days with retention, {label}", days, bare_days, target=1.0))
    for variant, place in (("ours", "days"), ("bare", "bare-days")):
        bench.report.facts[f"P2 ten days, {label}: snapshots left, {variant}"] = len(
            list((folder / place / "repository/snapshots").glob("*"))
        )
