"""One item's way back: out of the repository, under its new name, checked."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Literal

from orchestrator.model.engine import Item, Source
from orchestrator.model.errors import Precondition, RestoreFailed, UsageError
from orchestrator.model.execution import Finding, Undo
from orchestrator.model.failpoints import reach
from orchestrator.model.point import PointSource
from orchestrator.model.repository import Repository
from orchestrator.planning.restore import RestoreStep
from orchestrator.runs.data import RepositoryData
from orchestrator.runs.toolbox import Toolbox
from orchestrator.runs.verify import snapshot_of

_LETTERS = r"in it \*, \? and \[ are the letters themselves"


@dataclass(frozen=True)
class Picks:
    """restic's patterns of the files to bring back; none: all of them."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)


@dataclass(frozen=True)
class Loaded:
    """What came back: bytes, and what is worth saying."""

    bytes: int
    findings: tuple[Finding, ...] = ()


def item_of(box: Toolbox, service: str, step: RestoreStep) -> Item:
    """Return a step's item with its source as it is configured now. Raises Precondition, UsageError."""
    if step.source.engine not in box.engines:
        raise Precondition(f"engine {step.source.engine!r} is not installed", "install the package that provides it")
    source, item = _configured(box, service, step.source), step.item
    role: Literal["data", "globals"] = "globals" if item.role == "globals" else "data"
    return Item(source, item.name, item.extension, item.bytes, role=role, owner=item.owner)


def load_and_verify(box: Toolbox, service: str, picks: Picks, step: RestoreStep, undo: Undo) -> Loaded:
    """Bring an item back under its new name and check it. Raises RestoreFailed and the repository's errors."""
    item = item_of(box, service, step)
    loaded = _load_paths(box, step, picks, undo) if step.item.part == "paths" else _load(box, item, step, undo)
    reach("restore.loaded")
    if picks:
        return loaded  # a part of the files: there are no counts to compare it with
    found = box.engines[step.source.engine].verify(item, step.target, dict(step.item.counts), box.at(item.source), undo)
    bad = [finding for finding in found if finding.level == "error"]
    if bad:
        raise RestoreFailed(
            f"{step.target} was restored, but is not right: {bad[0].message}",
            bad[0].hint or "look at it before you use it",
        )
    reach("restore.verified")
    return Loaded(loaded.bytes, (*loaded.findings, *found))


def _load(box: Toolbox, item: Item, step: RestoreStep, undo: Undo) -> Loaded:
    engine, stored, name = box.engines[step.source.engine], step.item, item.source.id
    box.progress.start(name, stored.bytes)
    own = engine.places != "server" and not step.original
    with (
        _folders(os.path.dirname(step.target)) if own else nullcontext(),
        RepositoryData(
            box.repository(step.point),
            snapshot_of(step.point, stored, step.source.name),
            stored.path,
            stored.bytes,
            stored.sha256,
            undo,
            lambda done: box.progress.update(name, done),
        ) as data,
    ):
        restored = engine.restore(item, data, step.target, box.at(item.source), undo)
    return Loaded(stored.bytes, restored.findings if step.original else (*restored.findings, *restored.beside))


def _load_paths(box: Toolbox, step: RestoreStep, picks: Picks, undo: Undo) -> Loaded:
    repository, snapshot = box.repository(step.point), snapshot_of(step.point, step.item, step.source.name)
    if os.path.lexists(step.target) and (not os.path.isdir(step.target) or os.listdir(step.target)):
        raise RestoreFailed(f"{step.target} exists and is not an empty directory", "give --to a new directory")
    with _folders(step.target):
        end = repository.restore(snapshot, step.target, undo, include=picks.include, exclude=picks.exclude, verify=True)
        if end.errors:
            path, reason = end.errors[0]
            raise RestoreFailed(f"{len(end.errors)} files could not be restored, the first is {path}: {reason}")
        if picks and not os.listdir(step.target):
            raise RestoreFailed(_nothing(step, picks), _listing(box, repository, snapshot))
    return Loaded(end.bytes)


def _nothing(step: RestoreStep, picks: Picks) -> str:
    if picks.include:
        return f"nothing was restored: no path in {step.point.id} matches --include {' '.join(picks.include)}"
    return f"nothing was restored: {step.point.id} holds no file that --exclude leaves"


@contextmanager
def _folders(path: str) -> Iterator[None]:
    """Make a private folder and those above it; of a block that fails no empty one is left."""
    missing = []
    folder = path
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    os.makedirs(path, mode=0o700, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # there is something in it
                os.rmdir(folder)
        raise


def _listing(box: Toolbox, repository: Repository, snapshot: str) -> str:
    """Return the command that lists a snapshot's paths: patterns are matched with them."""
    reference = box.config.policy.repositories[repository.name].password
    key = ["--password-file", reference.file] if reference.file else []
    if reference.command:
        key = ["--password-command", shlex.join(reference.command)]
    command = shlex.join(["restic", "--repo", repository.describe(), *key, "ls", snapshot[:8]])
    return f"a pattern is a whole path, or a name such as '*.pdf'; {_LETTERS}; what there is: {command}"


def _configured(box: Toolbox, service: str, source: PointSource) -> Source:
    for configured in box.sources:
        if configured.service == service and configured.name == source.name:
            if configured.engine != source.engine:
                raise UsageError(
                    f"{configured.id} is {configured.engine} now and was {source.engine} then",
                    "give the old kind another name in services.yml",
                )
            return configured
    if source.engine == "files":
        return Source(service, source.name, source.engine, "default", 0.0, None, box.no_secret)
    raise Precondition(
        f"{service}/{source.name} is not in services.yml, so its server is not known",
        "put it back as `resguardo show POINT --files` prints it",
    )
