"""A gigabyte out of a container: at most a quarter longer than the same dump from this host."""

from __future__ import annotations

import os
import time
from statistics import median

import pytest

from orchestrator.adapters.executor import HostExecutor
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.execution import Executor
from tests.engines.servers.docker import DockerEngine
from tests.engines.servers.postgresql import newest_binaries
from tests.integration.docker.postgres import PASSWORD, postgres_in

BIG = """CREATE TABLE big AS SELECT n AS id, md5(n::text) || md5((-n)::text) AS one,
repeat(md5((n % 977)::text), 3) AS two FROM generate_series(1, 6300000) n"""


def dump(at: Executor, host: str, undo: RunUndo) -> tuple[int, float]:
    """Return the bytes of a dump over TCP, and the seconds from its start to its end."""
    read, write = os.pipe()
    began = time.monotonic()
    proc = at.start(
        [f"{newest_binaries()}/pg_dump", "--host", host, "--username", "postgres", "shop"],
        undo=undo,
        env={"PGPASSFILE": "{secret:password}"},
        secrets={"password": f"*:*:*:*:{PASSWORD}\n".encode()},
        stdout=write,
        deadline=300,
    )
    os.close(write)
    total = 0
    buffer = bytearray(1 << 18)
    while count := os.readv(read, [buffer]):
        total += count
    os.close(read)
    assert proc.wait().ok
    return total, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_gigabyte_takes_at_most_a_quarter_longer(
    docker_engine: DockerEngine, state: StateFolder, undo: RunUndo
) -> None:
    with postgres_in(docker_engine, BIG) as box:
        places: dict[str, tuple[Executor, str]] = {
            "host": (HostExecutor(state), box.address),
            "container": (box.executor(), "127.0.0.1"),
        }
        for at, host in places.values():
            dump(at, host, undo)  # both warm
        taken: dict[str, list[float]] = {name: [] for name in places}
        for _ in range(5):
            for name, (at, host) in places.items():
                total, seconds = dump(at, host, undo)
                assert total > 1_000_000_000
                taken[name].append(round(seconds, 2))
    ratio = median(inside / outside for inside, outside in zip(taken["container"], taken["host"], strict=True))
    print(f"{total} bytes; seconds {taken}; container/host, median of the rounds: {ratio:.2f}")
    assert ratio <= 1.25
