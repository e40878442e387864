"""The fixtures of this folder."""

from __future__ import annotations

from tests.unit.adapters.host.help import owner, repository, restic, state, template, undo

__all__ = ["owner", "repository", "restic", "state", "template", "undo"]
