"""Whom to tell when the policy itself is broken: the notification part of the last policy that was valid."""

from __future__ import annotations

import os
from contextlib import suppress

from pydantic import ValidationError

from orchestrator.adapters.state import StateFolder
from orchestrator.policy.base import PolicyModel
from orchestrator.policy.policy_file import Notify

_FILE = "notify.json"


class LastGood(PolicyModel):
    """What is kept. Secrets are references, whose paths are absolute by now."""

    host: str
    directory: str
    notify: Notify


def remember(state: StateFolder, good: LastGood) -> None:
    """Keep it, if it differs from what is kept. A full disk fails no command: what was kept then stays."""
    text = good.model_dump_json()
    path = os.path.join(state.last_good, _FILE)
    if _read(path) == text:
        return
    temporary = f"{path}.{os.getpid()}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)


def recall(state: StateFolder) -> LastGood | None:
    """Return what was kept; None when there is nothing that can be read."""
    text = _read(os.path.join(state.last_good, _FILE))
    try:
        return LastGood.model_validate_json(text) if text else None
    except ValidationError:
        return None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
