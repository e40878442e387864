"""The rules that retention ran with last: what they remove now is steady ageing, which the guard lets pass."""

from __future__ import annotations

import contextlib

from orchestrator.model.repository import Repository
from orchestrator.policy.ruleset import RuleSet
from orchestrator.runs.toolbox import Toolbox


def in_force(box: Toolbox, repository: Repository) -> RuleSet:
    """Return the rules of the policy as it is now."""
    return RuleSet.in_force(box.config.policy, repository.name)


def last(box: Toolbox, repository: Repository) -> RuleSet | None:
    """Return the rules that ran last; None when none ever ran."""
    known = box.catalog.get(_key(repository))
    return RuleSet.decode(known) if known else None


def remember(box: Toolbox, repository: Repository) -> None:
    """Note that the rules in force ran."""
    box.catalog.put(_key(repository), in_force(box, repository).encode())


def to_tell(box: Toolbox) -> dict[str, str]:
    """Return for each repository the rules that ran last, as a manifest carries them."""
    known = {name: box.catalog.get(_key(repository)) for name, repository in box.repositories.items()}
    return {name: rules for name, rules in known.items() if rules}


def adopt(box: Toolbox, repository: Repository) -> None:
    """Learn which rules ran last from the newest manifest, where the catalog does not know, since it was lost.

    Without it the first retention would take all that aged since for the work of a changed rule. The policy of that
    manifest would not do: retention may have refused it.
    """
    if box.catalog.get(_key(repository)):
        return
    newest = box.catalog.newest_manifest(repository.name, host=box.config.policy.host)
    if newest and (found := newest.rules.get(repository.name)):
        with contextlib.suppress(ValueError):
            box.catalog.put(_key(repository), RuleSet.decode(found).encode())


def _key(repository: Repository) -> str:
    return f"retention.rules.{repository.name}"
