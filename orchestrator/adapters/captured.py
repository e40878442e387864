"""Running a program and keeping what it prints, wherever it runs."""

from __future__ import annotations

import os
from collections.abc import Callable

from orchestrator.adapters.launch import memory_file
from orchestrator.model.errors import ResguardoError
from orchestrator.model.execution import Completed, Proc

MOST_OUTPUT = 16 * 1024 * 1024


def captured(start: Callable[[int | None, int], Proc], tool: str, stdin: bytes | None) -> Completed:
    """Start with (stdin, stdout), wait, and return what came. Raises as `start` and `wait`, and over 16 MiB of output.

    Files, not pipes: nothing blocks, whoever reads or not.
    """
    given = None if stdin is None else memory_file(stdin)
    output = memory_file()
    try:
        end = start(given, output).wait()
        if os.fstat(output).st_size > MOST_OUTPUT:
            raise ResguardoError(f"{tool}: printed more than {MOST_OUTPUT} bytes", hint="ask it for less")
        return Completed(end, os.pread(output, MOST_OUTPUT, 0))
    finally:
        os.close(output)
        if given is not None:
            os.close(given)
