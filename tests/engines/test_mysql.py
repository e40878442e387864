"""The engine mysql over the real MySQL; where the distribution has no such server, `scripts/test --matrix` runs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines import mysql_own
from tests.engines.servers.mariadb import MariadbServer
from tests.engines.test_mariadb import MysqlConformance


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    with MariadbServer("mysql") as running:
        yield running


class TestMysql(MysqlConformance):
    engine_name = "mysql"


class TestRich(mysql_own.RichSuite):
    pass


class TestRights(mysql_own.RightsSuite):
    pass


class TestFailures(mysql_own.FailureSuite):
    pass


class TestAccounts(mysql_own.AccountsSuite):
    pass


class TestSwap(mysql_own.SwapSuite):
    pass


class TestCrash(mysql_own.CrashSuite):
    pass


class TestTls(mysql_own.TlsSuite):
    pass


class TestBinlog(mysql_own.BinlogSuite):
    pass


class TestKilledSwap(mysql_own.KilledSwapSuite):
    pass
