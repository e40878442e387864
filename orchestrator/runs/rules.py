"""The rules that retention ran with last: what they remove now is steady ageing, which the guard lets pass.

They are kept for each service that was in services.yml when they ran: one that was taken out meanwhile comes back with
the rules that were its own, and not with those that were never weighed against its points.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from orchestrator.model.point import Point
from orchestrator.model.repository import Repository
from orchestrator.planning.tidy import decide_all, removed
from orchestrator.policy.ruleset import RuleSet
from orchestrator.runs.toolbox import Toolbox


@dataclass(frozen=True)
class Past:
    """What ran last. newest: the rules of the last retention · own: service → the rules that ran last on its points;
    None: `newest` ran on all of them, as was noted once · since: when, None where that is not known.
    """

    newest: RuleSet
    own: Mapping[str, RuleSet] | None = None
    since: datetime | None = None

    def of(self, service: str, points: Sequence[Point]) -> RuleSet | None:
        """Return what ran last on a service's points; None: nothing did, although they were there."""
        if self.own is None or (self.since and all(point.ended > self.since for point in points)):
            return (self.own or {}).get(service, self.newest)
        return self.own.get(service)

    def removed(self, points: Sequence[Point], now: datetime) -> list[Point]:
        """Return the points that go by age alone."""
        services = sorted({point.service for point in points})
        each = ((service, [point for point in points if point.service == service]) for service in services)
        known = ((ruled, found) for service, found in each if (ruled := self.of(service, found)))
        decided = chain.from_iterable(decide_all(found, ruled, now) for ruled, found in known)
        return [point for point, _ in removed(tuple(decided))]

    def encode(self) -> str:
        """Return the form that catalog and manifests keep, without `since`."""
        sets = sorted({self.newest.encode(), *(ruled.encode() for ruled in (self.own or {}).values())})
        own = {service: sets.index(ruled.encode()) for service, ruled in (self.own or {}).items()}
        return json.dumps({"sets": sets, "newest": sets.index(self.newest.encode()), "own": own}, sort_keys=True)

    @classmethod
    def decode(cls, text: str, since: datetime | None) -> Past:
        """Read that form, or the former one, which was one set of rules for all. Raises ValueError."""
        try:
            body = json.loads(text)
            if "sets" not in body:
                return cls(RuleSet.decode(text), None, since)
            sets = [RuleSet.decode(ruled) for ruled in body["sets"]]
            return cls(sets[body["newest"]], {str(name): sets[index] for name, index in body["own"].items()}, since)
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"no retention rules: {error}") from error


def in_force(box: Toolbox, repository: Repository) -> RuleSet:
    """Return the rules of the policy as it is now."""
    return RuleSet.in_force(box.config.policy, repository.name)


def last(box: Toolbox, repository: Repository) -> Past | None:
    """Return the rules that ran last; None when none ever ran and they may have been changed."""
    if known := box.catalog.get(_key(repository)):
        since = box.catalog.get(_since(repository)) or box.catalog.get(f"forget.last.{repository.name}")
        return Past.decode(known, datetime.fromisoformat(since) if since else None)
    same = unchanged(box, repository)
    return Past(same) if same else None


def unchanged(box: Toolbox, repository: Repository) -> RuleSet | None:
    """Return the rules in force where nobody knows which ran last, and every known point was made under this policy.

    Then no rule can have changed since, so that what goes now goes by age. One point made under another text of
    policy.yml is enough to doubt that; the newest alone would not do, as its policy may have been refused.
    """
    text = box.config.texts.get("policy.yml")
    made_under = box.catalog.policies(repository.name, host=box.config.policy.host)
    return in_force(box, repository) if text is not None and made_under == {text} else None


def remember(box: Toolbox, repository: Repository) -> None:
    """Note that the rules in force ran, on the services that are in services.yml; the others keep theirs."""
    before, now = last(box, repository), in_force(box, repository)
    own = dict.fromkeys((source.service for source in box.sources), now)
    away: dict[str, list[Point]] = {}
    for point in box.catalog.points(repository=repository.name, host=box.config.policy.host, items=False):
        if point.service not in own:
            away.setdefault(point.service, []).append(point)
    kept = {name: ruled for name, points in away.items() if before and (ruled := before.of(name, points))}
    box.catalog.put(_key(repository), Past(now, {**kept, **own}).encode())
    box.catalog.put(_since(repository), box.clock().isoformat())


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
            Past.decode(found, None)
            box.catalog.put(_key(repository), found)
            box.catalog.put(_since(repository), newest.ended.isoformat())


def _key(repository: Repository) -> str:
    return f"retention.rules.{repository.name}"


def _since(repository: Repository) -> str:
    return f"retention.since.{repository.name}"
