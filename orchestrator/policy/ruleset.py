"""The retention rules of one repository, as a policy says them and as catalog and manifests keep them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from orchestrator.policy.policy_file import Policy
from orchestrator.policy.retention import DEFAULT_TIER, KeepRules


@dataclass(frozen=True)
class RuleSet:
    """Keep-rules per tier, the time zone of their calendar, and how many proven points stay."""

    tiers: Mapping[str, KeepRules]
    zone: str
    keep_proven: int

    def of_tier(self, tier: str) -> KeepRules:
        """Return a tier's rules, or those of `default`."""
        return self.tiers.get(tier) or self.tiers[DEFAULT_TIER]

    @classmethod
    def in_force(cls, policy: Policy, repository: str) -> RuleSet:
        """Return a repository's rules: its own where it has some, else the policy's."""
        own = policy.repositories[repository].retention or {}
        return cls({**policy.retention.tiers, **own}, policy.timezone, policy.retention.guard.keep_proven)

    def encode(self) -> str:
        """Return the form that catalog and manifests keep."""
        tiers = {tier: rules.model_dump(exclude_none=True) for tier, rules in self.tiers.items()}
        return json.dumps({"tiers": tiers, "zone": self.zone, "keep_proven": self.keep_proven}, sort_keys=True)

    @classmethod
    def decode(cls, text: str) -> RuleSet:
        """Read that form. Raises ValueError when it is not that form, or names what this machine does not know."""
        try:
            body = json.loads(text)
            tiers = {tier: KeepRules.model_validate(rules) for tier, rules in body["tiers"].items()}
            return cls(
                {DEFAULT_TIER: tiers[DEFAULT_TIER], **tiers}, ZoneInfo(body["zone"]).key, int(body["keep_proven"])
            )
        except (LookupError, TypeError, AttributeError, OSError) as error:
            raise ValueError(f"no retention rules: {error}") from error
