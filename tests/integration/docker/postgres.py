"""A PostgreSQL server inside a container, from this machine's programs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.engines.servers.docker import Box, DockerEngine
from tests.engines.servers.postgresql import newest_binaries

PASSWORD = "canary-Pa55-in-c0ntainer"
DATA = "/data/db"
_START = """
set -e
export PATH="$1:$PATH"
initdb -N -D {data} -U postgres --encoding=UTF8 --locale=C.UTF-8 --auth=trust --auth-host=scram-sha-256 \
  --pwfile="$2" >/dev/null
echo 'host all all all scram-sha-256' >>{data}/pg_hba.conf
exec postgres -D {data} -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off -c shared_buffers=64MB
"""


@contextmanager
def postgres_in(engine: DockerEngine, sql: str = "", *, network: str = "bridge") -> Iterator[Box]:
    """A server in a container of its own, with a database `shop`. Its socket is in the container's /tmp."""
    folder = engine.root / "password"
    folder.mkdir(exist_ok=True)
    (folder / "of-postgres").write_text(PASSWORD)
    theirs = {"PGDATABASE": "wrong", "PGUSER": "wrong"}  # what must not redirect our tools
    command = ["/usr/bin/bash", "-c", _START.format(data=DATA), "start", str(newest_binaries())]
    with engine.container(
        [*command, str(folder / "of-postgres")],
        user="postgres",
        memory=["/data"],
        mounts=[str(folder)],
        network=network,
        env=theirs,
    ) as box:
        until = time.monotonic() + 60
        while psql(box, "SELECT 1", "postgres", ok=False) != "1":
            assert time.monotonic() < until, box.logs
            assert box.raw["State"]["Running"], box.logs
            time.sleep(0.05)
        psql(box, "CREATE DATABASE shop", "postgres")
        if sql:
            psql(box, sql)
        yield box


def psql(box: Box, sql: str, database: str = "shop", *, ok: bool = True) -> str:
    """Run SQL inside over the socket; returns what it printed."""
    api = box.engine.client.api
    argv = [f"{newest_binaries()}/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "/tmp", "-U", "postgres"]
    made = api.exec_create(box.id, [*argv, "-d", database, "-c", sql], user="postgres")
    said = api.exec_start(made["Id"]).decode()
    if ok:
        assert api.exec_inspect(made["Id"])["ExitCode"] == 0, said
    return str(said.strip())
