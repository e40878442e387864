"""`python -m orchestrator` and the `resguardo` command: the same program."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    # pydantic would search all installed distributions for plugins: none is wanted, and it takes a tenth of start-up.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from orchestrator.cli.main import run  # noqa: PLC0415 - the console script imports this module before argv is known

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
