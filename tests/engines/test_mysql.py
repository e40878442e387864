"""The engine mysql over the real MySQL; where the distribution has no such server, `scripts/test --matrix` runs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.servers.mariadb import MariadbServer
from tests.engines.test_mariadb import MysqlConformance


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    with MariadbServer("mysql") as running:
        yield running


class TestMysql(MysqlConformance):
    engine_name = "mysql"
