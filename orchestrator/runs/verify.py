"""Verify: the repository's soundness, rotating through its data; or one restore point, read back whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic

from orchestrator.model.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    DataDamaged,
    DeadlineExceeded,
    Interrupted,
    RepositoryLocked,
    ResguardoError,
)
from orchestrator.model.execution import Undo
from orchestrator.model.failpoints import reach
from orchestrator.model.point import Point, PointItem, State
from orchestrator.model.ports import CheckRecord
from orchestrator.model.record import Event, RunRecord
from orchestrator.model.repository import Repository, RunningRead
from orchestrator.planning.due import due as due_by_rule
from orchestrator.planning.due import next_part
from orchestrator.planning.select import named
from orchestrator.runs.data import STALL, awaited
from orchestrator.runs.identity import OTHER, changed, lost_words
from orchestrator.runs.rebuild import LOST, learn
from orchestrator.runs.recording import finish_run, new_run, record_of
from orchestrator.runs.toolbox import Toolbox

_DAMAGED = (
    'see docs/disaster-recovery.md, "The repository may be damaged", before anything is pruned;'
    " `resguardo status` shows what stands"
)
_TOLD = 3  # errors of restic that a text repeats
_LONG = 300  # characters of each


@dataclass(frozen=True)
class Checked:
    """How a check went. text: for the report."""

    text: str = ""
    error: str = ""
    exit_code: int = EXIT_DONE
    events: tuple[Event, ...] = field(default=())


def due(box: Toolbox, repository: Repository) -> str:
    """Say why a check of the repository is due, or ""; a job that verifies replaces the rule."""
    last = box.catalog.last_check(repository.name)
    begun = box.catalog.get(f"check.since.{repository.name}")
    since = last.time if last else datetime.fromisoformat(begun) if begun else None
    by_job = any(job.do == "verify" for job in box.config.policy.jobs.values())
    return due_by_rule(since, box.config.policy.check.every, box.clock(), by_job=by_job)


def forgotten(box: Toolbox, repository: Repository) -> bool:
    """Whether the catalog was rebuilt and the repository not checked since: damage that was known may be forgotten."""
    known = box.catalog.last_check(repository.name) or box.catalog.get(f"check.since.{repository.name}")
    return not known and box.catalog.seen(repository.name) is not None


def damage(box: Toolbox, repository: Repository) -> str:
    """Return the damage of a repository that was found and not disproved since, or "".

    A new backup deduplicates against what is stored: a damaged pack makes it worthless too, and no quick check or other
    part of the data shows that.
    """
    errors = list(dict.fromkeys(_harm(box, repository).values()))
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{errors[0]}{more}" if errors else ""


def _harm(box: Toolbox, repository: Repository) -> dict[str, str]:
    """Return the known damage by the part of the data in which it was found."""
    return dict(json.loads(box.catalog.get(f"damage.{repository.name}") or "{}"))


def disproved(box: Toolbox, repository: Repository) -> datetime | None:
    """Return when the last known damage of a repository was disproved by a clean check; None: never."""
    told = box.catalog.get(f"disproved.{repository.name}")
    return datetime.fromisoformat(told) if told else None


def _remember(box: Toolbox, repository: Repository, part: str, errors: Sequence[str]) -> None:
    """Keep damage until a clean check of the same part, or of all data."""
    known = _harm(box, repository)
    harmed = bool(known)
    if errors:
        known[part] = said(errors)
    elif part == "all":
        known.clear()
    else:
        known.pop(part, None)
    box.catalog.put(f"damage.{repository.name}", json.dumps(known) if known else "")
    if harmed and not known:
        box.catalog.put(f"disproved.{repository.name}", box.clock().isoformat())


def said(errors: Sequence[str]) -> str:
    """Return restic's first errors on one line, each with the lines that say what it is about, cut where it is long."""
    flat = [" ".join(line.strip() for line in error.split("\n") if line.strip()) for error in errors[:_TOLD]]
    more = f" (and {len(errors) - _TOLD} more)" if len(errors) > _TOLD else ""
    text = "; ".join(error if len(error) <= _LONG else f"{error[:_LONG]} …" for error in flat)
    return text + more


def when_due(box: Toolbox, repository: Repository, reason: str, undo: Undo) -> Checked:
    """Check when there is a reason to; a failure is told and never raised, but for interruptions."""
    if not reason:
        return _known_damage(box, repository)
    try:
        return check(box, repository, box.config.policy.check.data, undo)
    except Interrupted:
        raise
    except RepositoryLocked as error:
        return _blocked(box, repository, error)
    except ResguardoError as error:
        event = Event(
            box.clock(), "verify.failed", "failed", error.message, repository=repository.name, hint=error.hint
        )
        return Checked("verify.failed", error.message, error.exit_code, (event,))


def _blocked(box: Toolbox, repository: Repository, error: RepositoryLocked) -> Checked:
    """Say that a check was put off, which says nothing of the data; what was known before stands."""
    known = _known_damage(box, repository)
    event = Event(box.clock(), "verify.blocked", "warning", error.message, repository=repository.name, hint=error.hint)
    text = known.text or "check put off: the repository is locked"
    messages = [message for message in (known.error, error.message) if message]
    return Checked(text, "; ".join(messages), known.exit_code or error.exit_code, (*known.events, event))


def _known_damage(box: Toolbox, repository: Repository) -> Checked:
    found = damage(box, repository)
    if not found:
        return Checked()
    message = f"repository {repository.name} is damaged, so this backup may be too: {found}"
    hint = "see docs/disaster-recovery.md; a clean `resguardo verify --data all` ends this"
    event = Event(box.clock(), "verify.failed", "failed", message, repository=repository.name, hint=hint)
    return Checked("damaged", message, EXIT_FAILED, (event,))


def check(box: Toolbox, repository: Repository, data: str | None, undo: Undo) -> Checked:
    """Check structure and a share of the data: "" for none, "5%" for the next of twenty parts, "all", or "n/t"."""
    reach("check.started")
    part, key = data or "", f"check.part.{repository.name}"
    rotating = part.endswith("%")
    if rotating:
        part = next_part(part, box.catalog.get(key))
    began = monotonic()
    end = repository.check(undo, data=part or None)
    record = CheckRecord(box.clock(), repository.name, "", part, end.errors, round(monotonic() - began, 3))
    box.catalog.add_check(record)
    if rotating:
        box.catalog.put(key, part)
    _remember(box, repository, part, end.errors)
    if not end.errors:
        return Checked(f"sound ({part or 'structure'})")
    message = f"repository {repository.name} is damaged: {said(end.errors)}"
    event = Event(box.clock(), "verify.failed", "failed", message, repository=repository.name, hint=_DAMAGED)
    return Checked("damaged", message, EXIT_FAILED, (event,))


def verify(box: Toolbox, *, data: str | None, point: str | None, wait: float) -> RunRecord:
    """Verify every repository, or one restore point; recorded as a run of its own."""
    with box.lock(wait):
        run, started = new_run(box, "verify")
        outcomes: list[Checked] = []
        error: ResguardoError | None = None
        with box.undo(run) as undo:
            try:
                for outcome in _outcomes(box, data, point, undo):
                    outcomes.append(outcome)  # noqa: PERF402 - what was done before a failure stays
            except ResguardoError as failure:
                error = failure
        events = tuple(replace(event, run=run) for outcome in outcomes for event in outcome.events)
        text = "; ".join(outcome.error for outcome in outcomes if outcome.error)
        codes = [outcome.exit_code for outcome in outcomes]
        hint = next((event.hint for event in events if event.hint), None)
        record = record_of(box, "verify", run, started, codes, error, events=events, error=text, hint=hint)
        return finish_run(box, record)


def _outcomes(box: Toolbox, data: str | None, point: str | None, undo: Undo) -> Iterator[Checked]:
    if point is None:
        for repository in box.repositories.values():
            checked = check(box, repository, data, undo)
            yield checked
            if checked.exit_code == EXIT_DONE:
                yield _listed(box, repository, undo)
        return
    found = named(box.within_reach(box.catalog.points()), point)
    yield read_back(box, box.repository(found), found, undo)


def _listed(box: Toolbox, repository: Repository, undo: Undo) -> Checked:
    """Say which restore points a sound repository holds no longer; a check alone looks at what is there."""
    lost = [point for point in learn(box, repository, undo).points if point.lost]
    return _gone(box, repository, lost) if lost else Checked()


def _gone(box: Toolbox, repository: Repository, lost: Sequence[Point]) -> Checked:
    message = lost_words(repository.name, [point.id for point in lost])
    service = lost[0].service if len({point.service for point in lost}) == 1 else ""
    event = Event(box.clock(), "point.lost", "failed", message, service=service, repository=repository.name)
    hint = OTHER if changed(box, repository) else LOST
    return Checked("restore points are gone", message, EXIT_FAILED, (replace(event, hint=hint),))


def _lacks(box: Toolbox, repository: Repository, point: Point, undo: Undo) -> bool:
    """Whether a point that could not be read is gone, which says nothing of what the repository does hold."""
    if point.host != box.config.policy.host:
        return False  # a listing shows this host's alone
    listed = {snapshot.id for snapshot in repository.snapshots(undo)}
    lacks = not listed.issuperset(point.snapshots.values())
    box.catalog.set_missing(point.id, repository.name, missing=lacks)
    return lacks


def read_back(box: Toolbox, repository: Repository, point: Point, undo: Undo) -> Checked:
    """Read all bytes of a point out of the repository and compare digests; a clean one becomes `checked`."""
    began, errors = monotonic(), []
    for source in point.sources:
        bad = [error for item in source.items if (error := _read_item(repository, point, item, undo))]
        errors += [f"{source.name}/{text}" for text in bad]
        if not bad and source.outcome == "taken":
            box.catalog.set_state(point.id, repository.name, source.name, State.CHECKED)
    record = CheckRecord(box.clock(), repository.name, point.id, "all", tuple(errors), round(monotonic() - began, 3))
    box.catalog.add_check(record)
    if errors and _lacks(box, repository, point, undo):
        return _gone(box, repository, [point])
    box.catalog.set_damaged(point.id, repository.name, damaged=bool(errors))
    if errors:
        _remember(box, repository, "all", errors)
    if not errors:
        return Checked(f"{point.id} is whole")
    message = f"{point.id} is damaged: {said(errors)}"
    event = Event(box.clock(), "point.damaged", "failed", message, service=point.service, repository=repository.name)
    event = replace(event, hint=_DAMAGED)
    return Checked("damaged", message, EXIT_FAILED, (event,))


def _read_item(repository: Repository, point: Point, item: PointItem, undo: Undo) -> str:
    snapshot = snapshot_of(point, item)
    if not snapshot:
        return f"{item.name}: its snapshot is not known"
    try:
        size, digest = digest_of(repository, snapshot, item.path, undo)
    except DataDamaged as error:
        return f"{item.name}: {error.message}"
    # The tar of a path snapshot has no digest of its own: restic compares every blob's hash while it reads.
    if item.sha256 is not None and (size, digest) != (item.bytes, item.sha256):
        return f"{item.name}: {size} bytes with digest {digest[:12]} instead of {item.bytes} with {item.sha256[:12]}"
    return ""


def snapshot_of(point: Point, item: PointItem, source: str = "") -> str:
    """Return the restic ID that holds an item."""
    return (
        item.snapshot or point.snapshots.get(item.part, "") or point.snapshots.get(f"stream:{source}:{item.name}", "")
    )


def digest_of(repository: Repository, snapshot: str, path: str, undo: Undo, stall: float = STALL) -> tuple[int, str]:
    """Read a stored file (or, for "/", everything as a tar) out of the repository; return its size and SHA-256.

    Raises DataDamaged, DeadlineExceeded (no byte for `stall` seconds) and the repository's errors.
    """
    read_end, write_end = os.pipe()
    try:
        running = repository.dump(snapshot, path, write_end, undo)
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    with ThreadPoolExecutor(1, thread_name_prefix="digest") as pool:
        hashed = pool.submit(_hash, read_end, running, stall)
        try:
            running.wait()
        except ResguardoError as error:
            raise hashed.exception() or error from None
        finally:
            running.stop()
        return hashed.result()


def _hash(fd: int, running: RunningRead, stall: float) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    try:
        while block := awaited(fd, stall):
            digest.update(block)
            size += len(block)
    except DeadlineExceeded:
        running.stop()
        raise
    finally:
        os.close(fd)
    return size, digest.hexdigest()
