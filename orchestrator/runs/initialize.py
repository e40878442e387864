"""Create a repository, on purpose: the only place that ever does."""

from __future__ import annotations

from orchestrator.model.execution import Undo
from orchestrator.model.repository import Repository
from orchestrator.runs import identity, rebuild, rules
from orchestrator.runs.toolbox import Toolbox


def initialize(box: Toolbox, *, replace_lost: bool = False) -> list[tuple[Repository, str]]:
    """Create each configured repository that is not there yet; return (repository, "created" or "exists").

    Where restore points are known of a repository that is not there, or another one stands there, nothing is created
    and RepositoryMissing or Precondition raised, unless `replace_lost`: then the known points count as lost.
    """
    done = []
    with box.lock(0.0), box.looking() as undo:
        there = [(repository, repository.exists(undo)) for repository in box.repositories.values()]
        for repository in (each for each, exists in there if not (exists or replace_lost)):
            identity.refuse_lost(box, repository)
        for repository, exists in there:
            if not exists:
                _create(box, repository, undo)
            rebuild.learn(box, repository, undo)
            if replace_lost:
                identity.trust(box, repository)
            identity.refuse_other(box, repository)
            done.append((repository, "exists" if exists else "created"))
    return done


def _create(box: Toolbox, repository: Repository, undo: Undo) -> None:
    repository.init(undo)
    for what in ("forget.last", "prune.last", "check.since"):
        box.catalog.put(f"{what}.{repository.name}", box.clock().isoformat())
    rules.remember(box, repository)
