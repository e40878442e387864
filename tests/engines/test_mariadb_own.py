"""What is MariaDB's own; the suites are in mysql_own.py, since MySQL must hold them, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines import mysql_own
from tests.engines.servers.mariadb import MariadbServer


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    with MariadbServer() as running:
        yield running


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
