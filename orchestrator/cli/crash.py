"""Where the traceback of an unexpected error goes: a private file beside the log, never the screen alone."""

from __future__ import annotations

import os
import tempfile
import traceback

from orchestrator.model.errors import ResguardoError


def write_crash(error: Exception, policy_path: str) -> str:
    """Write the traceback to a 0600 file among the logs (else in the temporary directory); return its path."""
    text = "".join(traceback.format_exception(error))
    for folder in (_logs(policy_path), tempfile.gettempdir()):
        try:
            descriptor, path = tempfile.mkstemp(prefix="crash-", suffix=".txt", dir=folder)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            return path
        except OSError:
            continue  # a full disk is often why we are here
    return "no file, since no disk takes one"


def _logs(policy_path: str) -> str | None:
    from orchestrator.adapters.state import StateFolder  # noqa: PLC0415 - only when it is needed

    try:
        return StateFolder(policy_path).logs
    except (OSError, ResguardoError):
        return None
