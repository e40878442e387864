"""The fixtures of this folder."""

from __future__ import annotations

from tests.unit.adapters.host.help import owner, repository, state, template, undo

__all__ = ["owner", "repository", "state", "template", "undo"]
