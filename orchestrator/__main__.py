"""`python -m orchestrator` and the `resguardo` command: the same program."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from orchestrator.cli.main import run  # noqa: PLC0415 - the console script imports this module before argv is known

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
