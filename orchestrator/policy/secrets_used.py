"""Which secrets a configuration refers to, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from orchestrator.policy.config import Config
from orchestrator.policy.secret_ref import SecretRef


def secrets_used(config: Config) -> dict[SecretRef, list[str]]:
    """Return each reference of the policy and of the enabled sources once, with the keys or sources that use it."""
    found: dict[SecretRef, list[str]] = {}
    for where, ref in _within(config.policy, ""):
        found.setdefault(ref, []).append(where)
    for source in config.sources:
        for where, ref in _within(source.options, f"{source.service}/{source.name}"):
            found.setdefault(ref, []).append(where)
    return found


def _within(value: Any, where: str) -> Iterator[tuple[str, SecretRef]]:
    if isinstance(value, SecretRef):
        yield where, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _within(getattr(value, name), f"{where}.{name}".lstrip("."))
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _within(one, f"{where}.{key}")
