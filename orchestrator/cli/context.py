"""What every command gets: the global options, lazily built parts, and the two ways to answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.cli.output import put

if TYPE_CHECKING:
    from pydantic import BaseModel

    from orchestrator.policy import Config


@dataclass
class CliContext:
    """The global options. verbosity: -1 quiet, 0 usual, 1 and more verbose."""

    policy_path: str
    json: bool = False
    verbosity: int = 0

    def engine_options(self) -> Mapping[str, type[BaseModel]]:
        """Return the Options model of every engine by name."""
        from orchestrator.engines import Options  # noqa: PLC0415 - start-up

        return Options()

    def load(self) -> Config:
        """Read and check both files. Raises PolicyInvalid."""
        from orchestrator.policy import load  # noqa: PLC0415 - start-up

        return load(self.policy_path, self.engine_options())

    def emit(self, name: str, body: object) -> None:
        """Print the command's JSON document. body: as report/bodies.py has it under that name."""
        from orchestrator.report.document import document  # noqa: PLC0415 - start-up

        put(json.dumps(document(name, body), sort_keys=True, indent=2))

    def say(self, text: str) -> None:
        """Print text for people, unless --quiet; with --json standard output is the document's alone."""
        if self.verbosity >= 0 and text and not self.json:
            put(text)

    def warn(self, text: str) -> None:
        """Print to stderr."""
        put(text, sys.stderr)
