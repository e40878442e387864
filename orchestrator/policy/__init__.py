"""The two files that users write: YAML with places, pydantic models, secret references, JSON Schema.

Names are loaded on first use: importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.policy.config import Config, ServiceConfig, SourceConfig
    from orchestrator.policy.loading import load
    from orchestrator.policy.paths import LocalPath
    from orchestrator.policy.secret_ref import SecretRef

__all__ = ["Config", "LocalPath", "SecretRef", "ServiceConfig", "SourceConfig", "load"]

_HOMES = {
    "Config": "config",
    "LocalPath": "paths",
    "SecretRef": "secret_ref",
    "ServiceConfig": "config",
    "SourceConfig": "config",
    "load": "loading",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - only with a name that needs it

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
