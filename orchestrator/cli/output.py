"""Writing to stdout and stderr: neither a reader that went away nor a full disk behind them stops a backup."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from orchestrator.model.errors import EXIT_FAILED, worst

_lost: list[OSError] = []


def put(text: str, stream: TextIO | None = None, *, end: str = "\n") -> None:
    """Print to stdout, or to `stream`. What cannot be written is dropped; `finish` says so."""
    stream = stream or sys.stdout
    try:
        print(text, file=stream, end=end)
    except OSError as error:
        _drop(stream, error)


def finish(code: int) -> int:
    """Flush, and return the command's exit code: its own, or one that says that its output could not be written.

    A reader that closed its end (`| head`) has what it wanted: the code stays as it is.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            _drop(stream, error)
    if not _lost:
        return code
    put(f"resguardo: the output cannot be written: {(_lost[0].strerror or 'failed').lower()}", sys.stderr)
    _lost.clear()
    return worst((code, EXIT_FAILED))


def _drop(stream: TextIO, error: OSError) -> None:
    """Let what is buffered, and all that follows, go nowhere; otherwise the interpreter fails with it at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
    if not isinstance(error, BrokenPipeError):
        _lost.append(error)
