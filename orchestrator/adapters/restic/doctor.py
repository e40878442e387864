"""The lock doctor: a stale restic lock is removed only when our own journal knows whose it is and that it is dead.

`restic unlock` judges by host name and PID alone. From another PID namespace with the same host name it deletes the
lock of a living backup, and a prune after that loses its data. So `decide` asks for more, and `clear` lets restic
unlock only when every lock in the way is ours and dead. A person may ask for more (`asked`): then a lock counts too
whose process is nowhere to be seen on this host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from orchestrator.adapters.restic.holder import NOT_RUNNING, REMOVE
from orchestrator.model.execution import KillProcess, Undo
from orchestrator.model.record import Event
from orchestrator.model.repository import Lock, Repository
from orchestrator.report.units import age

Verdict = Literal["ours_dead", "ours_alive", "gone", "foreign"]
# A living restic renews its lock every 5 minutes, and itself calls one stale that is older than this.
UNRENEWED = timedelta(minutes=30)


@dataclass(frozen=True)
class Here:
    """Where and when we look. live: PID → start time (clock ticks since boot) of every process that we can see."""

    host: str
    boot: str
    pid_namespace: int
    live: Mapping[int, int]
    now: datetime


@dataclass(frozen=True)
class Judgement:
    """What a lock is, and why we think so."""

    lock: Lock
    verdict: Verdict
    evidence: str


def decide(lock: Lock, known: Sequence[KillProcess], here: Here) -> Judgement:
    """Judge one lock. known: the restic processes that our journal names for this repository."""
    since = f"for {age(min(lock.time, here.now), here.now)}"
    holder = f"PID {lock.pid} on {lock.host}, {since}"
    mine = [process for process in known if process.pid == lock.pid and process.role == "restic"]
    if lock.host == here.host and not mine and lock.pid not in here.live:
        return Judgement(lock, "gone", f"{holder}; {NOT_RUNNING} and is none of our journal's")
    if lock.host != here.host or not mine:
        return Judgement(lock, "foreign", f"{holder}; no process of our journal")
    verdicts = [_of(process, lock, here) for process in mine]
    # One PID may stand in the journal twice: the living one counts, then the one that we cannot see.
    for verdict in ("ours_alive", "foreign", "ours_dead"):
        for found, why in verdicts:
            if found == verdict:
                return Judgement(lock, found, f"{holder}; {why}")
    raise AssertionError("every verdict is one of three")


def _of(process: KillProcess, lock: Lock, here: Here) -> tuple[Verdict, str]:
    if process.boot != here.boot:
        if here.now - lock.time > UNRENEWED:
            return "ours_dead", "ours from before the last boot, not renewed since"
        return "foreign", "a process of that PID was ours before the last boot, but the lock is fresh"
    if process.pid_namespace != here.pid_namespace:
        return "foreign", "ours in another PID namespace: whether it lives cannot be seen from here"
    if here.live.get(process.pid) == process.start:
        return "ours_alive", "ours and still running"
    return "ours_dead", "ours and gone"


@dataclass(frozen=True)
class Settled:
    """Which locks were removed, and which are left in the way."""

    removed: tuple[Judgement, ...] = ()
    left: tuple[Judgement, ...] = ()


def clear(
    repository: Repository, known: Sequence[KillProcess], here: Here, undo: Undo, *, asked: bool = False
) -> Settled:
    """Remove our dead locks, when no other stands beside them. asked: those of processes that are gone too.

    `restic unlock` takes every lock that it thinks stale, so one foreign lock forbids the call.
    """
    judged = _judge(repository, known, here, undo)
    removable = {"ours_dead", "gone"} if asked else {"ours_dead"}
    if any(one.verdict not in removable for one in judged) or not judged:
        return Settled(left=judged)
    repository.unlock(undo)
    left = _judge(repository, known, here, undo)
    remaining = {one.lock.id for one in left}
    return Settled(tuple(one for one in judged if one.lock.id not in remaining), left)


def _judge(repository: Repository, known: Sequence[KillProcess], here: Here, undo: Undo) -> tuple[Judgement, ...]:
    ours = [process for process in known if process.repository == repository.name]
    return tuple(decide(lock, ours, here) for lock in repository.locks(undo))


def events(settled: Settled, repository: str, now: datetime) -> tuple[Event, ...]:
    """Say what was done and what stands in the way: `lock.removed`, `lock.foreign`, `lock.busy` (ours, at work)."""
    done = (
        Event(now, "lock.removed", "info", f"repository {repository}: removed the lock of {one.evidence}")
        for one in settled.removed
    )
    left = (_standing(one, repository, now) for one in settled.left)
    return tuple(replace(event, repository=repository) for event in (*done, *left))


def _standing(one: Judgement, repository: str, now: datetime) -> Event:
    name = {"ours_alive": "lock.busy", "foreign": "lock.foreign", "gone": "lock.foreign", "ours_dead": "lock.stuck"}
    by_hand = f"when that process is surely gone, run `restic unlock` on {one.lock.host or 'its host'}"
    return Event(
        now,
        name[one.verdict],
        "warning",
        f"repository {repository} is locked by {one.evidence}",
        hint=REMOVE if one.verdict == "gone" else by_hand,
    )
