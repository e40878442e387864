"""Where the traceback of an unexpected error goes: a private file beside the log, never the screen alone."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable, Iterable

from orchestrator.model.errors import ResguardoError
from orchestrator.model.secret import Secret

_known: list[Callable[[], Iterable[Secret]]] = []


def leave_out(known: Callable[[], Iterable[Secret]]) -> None:
    """Keep these secrets, as they are known by then, out of whatever is written here."""
    _known.append(known)


def write_crash(error: Exception, policy_path: str) -> str:
    """Write the traceback to a 0600 file among the logs (else in the temporary directory); return its path."""
    from orchestrator.adapters.redaction import Redactor, redact_url  # noqa: PLC0415 - only when it is needed

    text = "".join(traceback.format_exception(error))
    text = redact_url(Redactor(lambda: [secret for known in _known for secret in known()])(text))
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
        state = StateFolder(policy_path)
        return state.logs if state.exists() else None
    except (OSError, ResguardoError):
        return None
