"""Where the traceback of an unexpected error goes: a private file, never the screen alone."""

from __future__ import annotations

import os
import tempfile
import traceback


def write_crash(error: Exception) -> str:
    """Write the traceback to a 0600 file; return its path."""
    descriptor, path = tempfile.mkstemp(prefix="resguardo-crash-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write("".join(traceback.format_exception(error)))
    return path
