"""Which restore points to keep: restic's keep-rules per tier, and the guard against a mistake in them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from orchestrator.policy.base import Name, PolicyModel, Whole
from orchestrator.policy.fault import fault, shown
from orchestrator.policy.units import Percent, Within

UNLIMITED = -1
DEFAULT_TIER = "default"
GUARD = "guard"
NO_DEFAULT = "the tier `default` is missing"
NO_DEFAULT_HINT = "add default: {last: 7, daily: 30, monthly: 12}"


def _count(value: Any) -> int:
    if value == "unlimited" and isinstance(value, str):
        return UNLIMITED
    if type(value) is int and (value >= 1 or value == UNLIMITED):
        return value
    raise fault(
        f"not a number of restore points: {shown(value)}", "write 1 or more, or unlimited; leave the key out for none"
    )


_COUNT_SCHEMA = {
    "title": "count",
    "anyOf": [{"type": "integer", "minimum": 1}, {"const": "unlimited"}],
    "examples": [7, "unlimited"],
}
Count = Annotated[int, BeforeValidator(_count), WithJsonSchema(_COUNT_SCHEMA)]


class KeepRules(PolicyModel):
    """restic's keep-rules: counts (-1 is unlimited) and `within` durations (restic's own grammar); at least one."""

    last: Count | None = Field(default=None, description="Keep the newest N.")
    hourly: Count | None = Field(default=None, description="Keep the newest of each of the last N hours with one.")
    daily: Count | None = Field(default=None, description="Keep the newest of each of the last N days with one.")
    weekly: Count | None = Field(default=None, description="Keep the newest of each of the last N weeks with one.")
    monthly: Count | None = Field(default=None, description="Keep the newest of each of the last N months with one.")
    yearly: Count | None = Field(default=None, description="Keep the newest of each of the last N years with one.")
    within: Within | None = Field(
        default=None, description="Keep all that are at most this much older than the newest."
    )
    within_hourly: Within | None = Field(
        default=None, description="Keep hourly ones that are at most this much older than the newest."
    )
    within_daily: Within | None = Field(
        default=None, description="Keep daily ones that are at most this much older than the newest."
    )
    within_weekly: Within | None = Field(
        default=None, description="Keep weekly ones that are at most this much older than the newest."
    )
    within_monthly: Within | None = Field(
        default=None, description="Keep monthly ones that are at most this much older than the newest."
    )
    within_yearly: Within | None = Field(
        default=None, description="Keep yearly ones that are at most this much older than the newest."
    )

    @model_validator(mode="before")
    @classmethod
    def _at_least_one(cls, value: Any) -> Any:
        if isinstance(value, dict) and all(rule is None for rule in value.values()):
            raise fault("a tier without any rule would forget everything", "add a rule such as last: 7 or daily: 30")
        return value


class Guard(PolicyModel):
    """Brakes of retention. max_forget: fraction, 0 to 1 · keep_proven: newest proven points per source to keep."""

    max_forget: Percent = Field(
        default=0.30, description="Retention refuses to forget more than this share at once because of a changed rule."
    )
    keep_proven: Whole = Field(
        default=1,
        ge=1,
        le=100,
        description="How many of the newest proven restore points of each source are never forgotten. Only a drill "
        "proves a restore point, and there are no drills in this version: so far it changes nothing.",
    )


class RetentionPolicy(PolicyModel):
    """tiers: the keep-rules by tier, `default` among them · guard: the brakes. In YAML tiers stand beside `guard`."""

    tiers: dict[Name, KeepRules]
    guard: Guard = Field(default=Guard.model_construct(), description="Brakes against a mistake in the rules.")

    @field_validator("tiers")
    @classmethod
    def _has_default(cls, tiers: dict[str, KeepRules]) -> dict[str, KeepRules]:
        if DEFAULT_TIER not in tiers:
            raise fault(NO_DEFAULT, NO_DEFAULT_HINT)
        return tiers


def gather_tiers(value: Any) -> Any:
    """Turn YAML's free keys into `tiers`."""
    if not isinstance(value, dict):
        return value
    tiers = {key: rules for key, rules in value.items() if key != GUARD}
    return {"tiers": tiers} | ({GUARD: value[GUARD]} if GUARD in value else {})


Retention = Annotated[RetentionPolicy, BeforeValidator(gather_tiers)]
