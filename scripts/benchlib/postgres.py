"""A PostgreSQL server of our own with databases of a wanted size."""

from __future__ import annotations

import os
import pwd
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchlib.bench import ROOT, run
from benchlib.measure import NotMeasured

USER = "postgres"
# Rows of about 114 bytes that compress by about 2: close to what business data does.
_ROW_BYTES = 114
_CREATE = """
CREATE TABLE reading (id bigint PRIMARY KEY, device int NOT NULL, filler text NOT NULL);
INSERT INTO reading SELECT n, n % 977, md5(n::text) || md5((n + 1)::text) || md5((n + 2)::text)
FROM generate_series(1, {rows}) n;
"""


class Server:
    """The server that the tests use, started with what a measurement needs."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.host = "127.0.0.1"
        self.port = int(server.port)
        # Everybody comes over loopback without a password: borgmatic cannot dump over a socket in a folder of ours.
        (server.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")
        server.psql("SELECT pg_reload_conf()")

    def tool(self, name: str, database: str, *options: str) -> list[str]:
        """The command line of one of PostgreSQL's own clients."""
        return [
            str(self._server.bin / name), "-h", self.host, "-p", str(self.port), "-U", USER, *options, "-d", database,
        ]  # fmt: skip

    def sql(self, database: str, text: str) -> str:
        return run([*self.tool("psql", database, "-XqAt", "-v", "ON_ERROR_STOP=1"), "-c", text], {})

    def create(self, name: str, size: int) -> None:
        """Make a database whose plain dump has about `size` bytes."""
        self.sql("postgres", f"CREATE DATABASE {name}")
        for statement in _CREATE.format(rows=max(size // _ROW_BYTES, 100)).split(";\n"):
            if statement.strip():
                self.sql(name, statement)
        self.sql(name, "ANALYZE; CHECKPOINT")

    def drop(self, name: str) -> None:
        self.sql("postgres", f"DROP DATABASE IF EXISTS {name}")

    def change(self, name: str, day: int, *, scattered: bool) -> None:
        """Update 1 % of the rows: every hundredth one, or one stretch."""
        rows = int(self.sql(name, "SELECT max(id) FROM reading"))
        share = max(rows // 100, 1)
        first = (day * 7 % 100) * share
        where = f"id % 100 = {day % 100}" if scattered else f"id > {first} AND id <= {first + share}"
        self.sql(name, f"UPDATE reading SET filler = md5(id::text || 'day {day}') || substr(filler, 33) WHERE {where}")
        self.sql(name, "CHECKPOINT")

    def source(self, database: str, **options: Any) -> dict[str, Any]:
        """One entry of `databases:` for this database; the globals are left out, as the bare pipe leaves them out."""
        return {
            "engine": "postgresql", "host": self.host, "port": self.port, "user": USER, "database": database,
            "globals": False, **options,
        }  # fmt: skip


@contextmanager
def server() -> Iterator[Server]:
    """Start the server. Raises NotMeasured where there is none or we may not start one."""
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(USER)
        except KeyError:
            raise NotMeasured("no user postgres: install postgresql") from None
    sys.path.insert(0, str(ROOT))
    try:
        from tests.engines.servers.postgresql import PostgresServer  # noqa: PLC0415 - needs the path
    finally:
        sys.path.remove(str(ROOT))
    try:
        started = PostgresServer(["autovacuum=off", "max_wal_size=4GB", "shared_buffers=256MB"])
    except FileNotFoundError as error:
        raise NotMeasured(str(error)) from error
    with started:
        yield Server(started)


def pipeline(*commands: list[str]) -> list[str]:
    """A shell pipeline that fails when any of its commands fails."""
    return ["bash", "-c", "set -o pipefail; " + " | ".join(shlex.join(command) for command in commands)]
