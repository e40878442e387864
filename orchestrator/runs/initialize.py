"""Create a repository, on purpose: the only place that ever does."""

from __future__ import annotations

from orchestrator.model.repository import Repository
from orchestrator.runs import rebuild, rules
from orchestrator.runs.toolbox import Toolbox


def initialize(box: Toolbox) -> list[tuple[Repository, str]]:
    """Create each configured repository that is not there yet; return (repository, "created" or "exists")."""
    done = []
    with box.lock(0.0), box.looking() as undo:
        for repository in box.repositories.values():
            if repository.exists(undo):
                rebuild.learn(box, repository, undo)
                done.append((repository, "exists"))
                continue
            repository.init(undo)
            rebuild.mark_listed(box, repository)
            for what in ("forget.last", "prune.last", "check.since"):
                box.catalog.put(f"{what}.{repository.name}", box.clock().isoformat())
            rules.remember(box, repository)
            done.append((repository, "created"))
    return done
