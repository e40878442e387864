"""The command line of scripts/bench."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchlib import borgmatic
from benchlib.bench import Bench, run
from benchlib.measure import NotMeasured, say
from benchlib.result import Report, Row

CASES = ("P1", "P2", "P3", "P4", "P6", "P9")
QUICK = 0.02


def main(argv: list[str]) -> int:
    """Measure, print the table to stdout, and return 0 when every target was met, 1 when one was not."""
    options = _options(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))  # so that servers are stopped and folders removed
    folder = Path(tempfile.mkdtemp(prefix="rsgb-", dir=options.folder))
    folder.chmod(0o711)
    report = Report(_machine())
    try:
        bench = Bench(folder, options.rounds, QUICK if options.quick else 1.0, report)
        _measure(bench, options.cases or list(CASES), quick=options.quick)
    finally:
        if options.keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(report.table())
    if options.json:
        Path(options.json).write_text(json.dumps(report.as_dict(), indent=1, sort_keys=True) + "\n")
    return 0 if all(row.target is None or row.verdict == "met" for row in report.rows) else 1


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)}; default: all", default=[])
    parser.add_argument("--rounds", type=int, default=5, help="runs of each variant, in turns (default: 5)")
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the data: to try the script, not to judge")
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON too")
    parser.add_argument("--folder", default="/var/tmp", help="where data is made; 30 GB (default: /var/tmp)")
    parser.add_argument("--keep", action="store_true", help="leave the data and logs there")
    options = parser.parse_args(argv)
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    return options


def _measure(bench: Bench, cases: list[str], *, quick: bool) -> None:
    bench.report.machine |= {
        "resguardo": run([bench.resguardo, "--version"], {}).strip(),
        "restic": run([bench.restic, "version"], {}).strip(),
        **borgmatic.versions(),
        "rounds": bench.rounds,
        "quick": quick,
    }
    for case in cases:
        module = importlib.import_module(f"benchlib.{case.lower()}")
        say(f"{case}: {module.__doc__.partition(': ')[2].splitlines()[0]}")
        bench.report.not_counted[case] = module.NOT_COUNTED
        began = time.monotonic()
        try:
            module.run(bench)
        except NotMeasured as error:
            say(f"{case} not measured: {error}")
            bench.report.rows.append(Row(case, "the case as a whole", "", "value", [], target=0, problem=str(error)))
        bench.report.facts[f"{case} took"] = f"{time.monotonic() - began:.0f} s"
        bench.report.facts[f"{case} load after"] = os.getloadavg()[0]


def _machine() -> dict[str, object]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
