"""Variants of one piece of work, measured in turns: A B A B, so that a slow minute hits all alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

METER = str(Path(__file__).with_name("meter.py"))
DEADLINE = 900.0  # seconds for one run of one variant


class NotMeasured(Exception):
    """A variant could not be run; its text says why and goes into the report."""


@dataclass(frozen=True)
class Sample:
    """What one run cost. wall, cpu: seconds; cpu is of the whole process tree · rss: KiB of its largest process."""

    wall: float
    cpu: float
    rss: int = 0


@dataclass(frozen=True)
class Variant:
    """One way to do the work. `prepare` is not measured; a failing command ends the variant and is reported."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] | None = None


@dataclass
class Series:
    """All runs of one variant."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    problem: str = ""

    def values(self, what: str) -> list[float]:
        return [float(getattr(sample, what)) for sample in self.samples]


def clean_env(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of every measured command: nothing of the caller's restic or borg settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "USER", "TMPDIR") if name in os.environ}
    return {"HOME": "/tmp", **kept, **extra}


def run_once(variant: Variant, log: Path) -> Sample:
    """Run a variant once. Raises NotMeasured with the end of what it printed."""
    if variant.prepare:
        variant.prepare()
    os.sync()  # what others wrote shall not be paid for by this run
    result = log.with_suffix(".cost")
    argv = [sys.executable, "-I", "-S", METER, str(result), *variant.argv]
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            env=clean_env(variant.env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(DEADLINE)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise NotMeasured(f"{variant.name}: not done after {DEADLINE:.0f} s") from error
            raise
    cost = json.loads(result.read_text()) if process.returncode == 0 else {"exit": process.returncode}
    if cost["exit"] != 0:
        tail = log.read_text(errors="replace").strip()[-600:]
        raise NotMeasured(f"{variant.name}: exit {cost['exit']}: {tail}")
    return Sample(cost["wall"], cost["cpu"], cost["rss"])


def in_turns(
    variants: Sequence[Variant], rounds: int, folder: Path, *, series: list[Series] | None = None
) -> list[Series]:
    """Run all variants `rounds` times in turns; more rounds are added to `series` when it is given."""
    found = series if series is not None else [Series(variant.name) for variant in variants]
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(rounds):
        for variant, one in zip(variants, found, strict=True):
            if one.problem:
                continue
            try:
                one.samples.append(run_once(variant, folder / f"{len(one.samples)}-{_file(variant.name)}.log"))
                say(f"  {variant.name}: {one.samples[-1].wall:.2f} s, CPU {one.samples[-1].cpu:.2f} s")
            except NotMeasured as error:
                one.problem = str(error)
                say(f"  {one.problem}")
    return found


def _file(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def say(text: str) -> None:
    """Progress goes to stderr; stdout is the table's."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
