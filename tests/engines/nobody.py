"""Running a function as a user without rights."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

NOBODY = 65534


def as_nobody(function: Callable[[], object]) -> str:
    """Return the text of what a function returned or raised in a child process without root's rights."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python warns of other threads: those of the test's runner, whose locks the child never asks for.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            try:
                said = str(function())
            except Exception as error:  # noqa: BLE001 - whatever it raises is the answer
                said = f"{type(error).__name__}: {error}"
            os.write(writer, said.encode("utf-8", "replace"))
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as stream:
        text = stream.read().decode()
    os.waitpid(child, 0)
    return text
