"""A MariaDB server of our own with databases of a wanted size."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchlib.bench import ROOT
from benchlib.measure import NotMeasured

_ROW_BYTES = 114
_CREATE = """
CREATE TABLE reading (id bigint PRIMARY KEY, device int NOT NULL, filler text NOT NULL) ENGINE=InnoDB;
INSERT INTO reading SELECT seq, seq % 977, concat(md5(seq), md5(seq + 1), md5(seq + 2)) FROM seq_1_to_{rows};
ANALYZE TABLE reading
"""


class Server:
    """The server that the tests use, started with what a measurement needs."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.host = "127.0.0.1"
        self.port = int(server.port)
        # Everybody comes over loopback, as with PostgreSQL.
        server.sql("CREATE USER bench@'127.0.0.1'", "GRANT ALL ON *.* TO bench@'127.0.0.1'")
        self.user = "bench"

    def create(self, name: str, size: int) -> None:
        """Make a database whose dump has about `size` bytes."""
        statements = _CREATE.format(rows=max(size // _ROW_BYTES, 100)).split(";\n")
        self._server.sql(f"CREATE DATABASE {name}")
        self._server.sql(*statements, database=name)

    def dump(self, name: str) -> list[str]:
        """The command line that dumps it, as it is commonly written."""
        return [
            "mariadb-dump", "--no-defaults", "-h", self.host, "-P", str(self.port), "-u", self.user,
            "--single-transaction", "--quick", "--routines", "--triggers", "--events", name,
        ]  # fmt: skip

    def source(self, database: str, **options: Any) -> dict[str, Any]:
        """One entry of `databases:` for this database; users and grants are left out, as the bare pipe leaves them."""
        return {
            "engine": "mariadb", "host": self.host, "port": self.port, "user": self.user, "database": database,
            "globals": False, **options,
        }  # fmt: skip


@contextmanager
def server() -> Iterator[Server]:
    """Start the server. Raises NotMeasured where there is none."""
    sys.path.insert(0, str(ROOT))
    try:
        import pytest  # noqa: PLC0415 - needs the environment of the tests

        from tests.engines.servers.mariadb import MariadbServer  # noqa: PLC0415 - needs the path
    finally:
        sys.path.remove(str(ROOT))
    try:
        started = MariadbServer()
    except pytest.skip.Exception as error:  # how the tests say that a program is not there
        raise NotMeasured(str(error)) from error
    with started:
        yield Server(started)
