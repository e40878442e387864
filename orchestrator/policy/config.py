"""Both files, checked and put together: what the rest of the program works from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.policy.policy_file import Policy


@dataclass(frozen=True)
class SourceConfig:
    """One source. timeout: seconds · options: an instance of its engine's Options model, paths absolute."""

    service: str
    name: str
    engine: str
    tier: str
    timeout: float
    options: Any


@dataclass(frozen=True)
class ServiceConfig:
    """One service; disabled sources are left out of `sources`, and a disabled service has none."""

    name: str
    tier: str
    sources: tuple[SourceConfig, ...]
    enabled: bool = True


@dataclass(frozen=True)
class Config:
    """One loaded policy with its inventory.

    texts: as written, by "policy.yml" and "services.yml" · sha256: hex digest over both · directory: of policy.yml,
    absolute; relative paths start there · policy_path: its real path, from which the state folder's name comes.
    """

    policy: Policy
    services: Mapping[str, ServiceConfig]
    texts: Mapping[str, str]
    sha256: str
    directory: str
    policy_path: str

    @property
    def sources(self) -> tuple[SourceConfig, ...]:
        """All enabled sources, in the order of services.yml."""
        return tuple(source for service in self.services.values() for source in service.sources)
