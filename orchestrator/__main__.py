"""`python -m orchestrator` and the `resguardo` command: the same program."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    _open_standard_streams()
    gc.set_threshold(50_000)  # imports make many objects and hardly any garbage: looking for it takes 6 % of start-up
    # pydantic would search all installed distributions for plugins: none is wanted, and it takes a tenth of start-up.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    _hide_from_libpq()
    from orchestrator.cli.main import run  # noqa: PLC0415 - the console script imports this module before argv is known

    sys.exit(run(sys.argv[1:]))


def _hide_from_libpq() -> None:
    """Let services.yml alone say how a PostgreSQL server is reached.

    The client programs get a clean environment: were PGPASSWORD and its like read in this process, a look at a server
    would go well and the dump fail. libpq reads the C environment, which is cleared here; os.environ keeps them for
    what names them: `${PGHOST}`, `{env: PGPASSWORD}`, and the engine, which gives PGPASSFILE and PGSERVICEFILE to both.
    """
    for name in [name for name in os.environ if name.startswith("PG")]:
        os.unsetenv(name)
    for name in ("PGHOSTADDR", "PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS"):  # these psycopg reads by itself
        os.environ.pop(name, None)


def _open_standard_streams() -> None:
    """Give closed ones to /dev/null: else the next file that is opened gets their number, and what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115 - for good


if __name__ == "__main__":
    main()
