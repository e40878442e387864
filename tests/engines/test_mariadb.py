"""The engines mariadb and mysql: the conformance suite on real servers, on the host and inside a container."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from orchestrator.engines._mysql.options import Options
from orchestrator.model.engine import Item, Source
from orchestrator.model.errors import Precondition, ResguardoError, RightsMissing, ServerUnreachable, ToolMissing
from orchestrator.model.secret import Secret
from tests.engines.conformance import HANDFUL, StreamConformance
from tests.engines.mysql_content import content
from tests.engines.servers.mariadb import PASSWORD, SUPERUSER, MariadbServer, ident

# What can be swapped; the rest is in test_mariadb_own.py.
SCHEMA = r"""
CREATE TABLE customer (id int unsigned AUTO_INCREMENT PRIMARY KEY, name varchar(100) NOT NULL, photo blob, flags bit(5),
  feeling enum('good', 'b''ad', 'new
line'), seen datetime(6), price decimal(20, 5), day date NOT NULL DEFAULT '0000-00-00', low varchar(100)
  GENERATED ALWAYS AS (lower(name)) STORED, KEY (name)) CHARSET utf8mb4 COMMENT 'it''s \\ a
comment'
;;
CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, customer int unsigned, total double,
  FOREIGN KEY (customer) REFERENCES customer (id) ON DELETE CASCADE)
;;
CREATE TABLE `od``d "ta.b
le` (k varchar(60) PRIMARY KEY, `v'``
INSERT INTO ``` double) CHARSET latin1
;;
CREATE TABLE measure (at date NOT NULL, v int, KEY (v)) PARTITION BY RANGE COLUMNS (at)
  (PARTITION a VALUES LESS THAN ('2026-02-01'), PARTITION b VALUES LESS THAN (MAXVALUE))
;;
CREATE TABLE audit (what text)
;;
CREATE TABLE account (id int PRIMARY KEY, balance bigint)
;;
INSERT INTO customer (name, photo, flags, feeling, seen, price, day) VALUES
  ('nämé 😀 ''q" \\ \n\r\0\Z `', x'00ff5c270a0d1a', b'10101', 'b''ad', '2026-01-02 03:04:05.678901', 1234.56789,
   '2026-00-15'), (');\nINSERT INTO `customer` VALUES (1', '', NULL, 'new
line', NULL, -0.00001, '0000-00-00')
;;
INSERT INTO orders (customer, total) VALUES (1, 1e300), (2, -0.1), (1, 0.1)
;;
INSERT INTO `od``d "ta.b
le` VALUES ('a', 1.5), ('ä\n', 2)
;;
INSERT INTO measure VALUES ('2026-01-05', 1), ('2026-01-05', 1), ('2026-03-01', NULL)
;;
INSERT INTO account SELECT n.a * 5 + m.a, 100 FROM (SELECT 0 a UNION SELECT 1 UNION SELECT 2 UNION SELECT 3) n,
  (SELECT 1 a UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5) m
"""
BULK = """
;;
CREATE TABLE bulk (id int AUTO_INCREMENT PRIMARY KEY, t text)
;;
INSERT INTO bulk (t) VALUES (repeat('0123456789', 500))
"""
DOUBLE = "INSERT INTO bulk (t) SELECT t FROM bulk"


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    with MariadbServer() as running:
        yield running


def options(server: MariadbServer, **more: Any) -> Options:
    given = {"socket": server.socket, "user": SUPERUSER} | more
    given = {key: value for key, value in given.items() if value is not None}
    return Options.model_validate(given, context={"directory": "/"})


def source_of(
    server: MariadbServer, secret: str = PASSWORD, timeout: float = 60.0, engine: str = "", **more: Any
) -> Source:
    kind = engine or server.kind
    return Source("shop", "main", kind, "default", timeout, options(server, **more), lambda _ref: Secret(secret))


def statements(script: str) -> list[str]:
    return [statement.strip() for statement in script.split("\n;;\n")]


@contextmanager
def made(server: MariadbServer, name: str, script: str = SCHEMA, *, large: bool = False) -> Iterator[str]:
    server.sql(f"CREATE DATABASE {ident(name)} CHARACTER SET latin2 COLLATE latin2_czech_cs")
    try:
        server.sql(*statements(script + (BULK if large else "")), *[DOUBLE] * (11 * large), database=name)
        yield name
    finally:
        server.drop_all()


class MysqlConformance(StreamConformance):
    broken: ClassVar[Mapping[str, type[ResguardoError] | None]] = {
        "no such database": Precondition,
        "wrong password": RightsMissing,
        "no such user": RightsMissing,
        "no server": ServerUnreachable,
        "may not select": RightsMissing,
        "may not see triggers": RightsMissing,
        "may not see routines": RightsMissing,
        "no dump program": ToolMissing,
        "the other server": Precondition,
        "no such authority": Precondition,
    }

    @pytest.fixture(autouse=True)
    def _server(self, server: MariadbServer) -> None:
        self.server = server

    @contextmanager
    def make_source(self, tmp: Path, *, name: str = "shop", large: bool = False) -> Iterator[Source]:
        with made(self.server, name, large=large):
            yield source_of(self.server, database=name, globals=False)

    @contextmanager
    def make_broken(self, label: str, tmp: Path) -> Iterator[Source]:
        self.server.sql("CREATE USER weak@localhost IDENTIFIED BY 'weak'")
        more: dict[str, Any] = {"user": "weak", "database": "shop", "password": {"env": "X"}}
        secret, engine, grant = "weak", self.server.kind, "SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE ON shop.*"
        if label == "no such database":
            more = {"database": "absent"}
        elif label == "wrong password":
            secret = "wrong"
        elif label == "no such user":
            more["user"] = "absent"
        elif label == "no server":
            more |= {"socket": None, "host": "127.0.0.1", "port": 1}
        elif label == "no such authority":
            more |= {"socket": None, "port": self.server.port, "tls": {"ca": str(tmp / "missing")}}
        elif label == "may not select":
            grant = "TRIGGER ON shop.*"
        elif label == "may not see triggers":
            grant = "SELECT, SHOW VIEW, EVENT, EXECUTE ON shop.*"
        elif label == "may not see routines":
            grant = "SELECT, SHOW VIEW, TRIGGER, EVENT ON shop.*"
        elif label == "no dump program":
            more["tools"] = str(tmp)
        else:
            engine = "mysql" if self.server.kind == "mariadb" else "mariadb"
        with made(self.server, "shop", "CREATE TABLE t (a int)"):
            self.server.sql(f"GRANT {grant} TO weak@localhost")
            yield source_of(self.server, secret, engine=engine, globals=False, **more)
        self.server.sql("DROP USER weak@localhost")

    def item_of(self, source: Source) -> Item:
        return Item(source, source.options.database, "sql")

    def new_name(self, tmp: Path, name: str) -> str:
        return name

    def exists(self, item: Item, name: str) -> bool:
        return name in self.server.databases()

    def fingerprint(self, item: Item, name: str | None) -> object:
        return content(self.server, item.name if name is None else name)

    def change_original(self, item: Item) -> None:
        self.server.sql("INSERT INTO audit VALUES ('changed')", database=item.name)

    def plant_difference(self, item: Item, name: str) -> None:
        self.server.sql("DELETE FROM orders WHERE id = 2", database=name)

    def state(self, source: Source) -> object:
        return self.server.databases(), self.server.accounts()

    @contextmanager
    def write_load(self, item: Item) -> Iterator[Callable[[], int]]:
        """Two threads move money and append a row per transaction: the sum of all balances stays, audit grows."""
        over, done = threading.Event(), [0, 0]
        first = threading.Barrier(3)

        def write(number: int) -> None:
            with self.server.connect(item.name) as connection, connection.cursor() as cursor:
                connection.autocommit(False)
                first.wait(20)
                while not over.is_set():
                    source, target = 1 + done[number] % 10, 11 + (done[number] * 7) % 10
                    cursor.execute("INSERT INTO audit VALUES ('moved')")
                    cursor.execute("UPDATE account SET balance = balance - 3 WHERE id = %s", [source])
                    cursor.execute("UPDATE account SET balance = balance + 3 WHERE id = %s", [target])
                    connection.commit()
                    done[number] += 1

        threads = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        try:
            first.wait(20)
            yield lambda: sum(done)
        finally:
            over.set()
            for thread in threads:
                thread.join(20)

    def assert_invariant(self, item: Item, name: str) -> None:
        assert self.server.sql("SELECT SUM(balance) FROM account", database=name) == [(2000,)]
        moves = "(SELECT COUNT(*) FROM audit WHERE what = 'moved')"
        moved = f"SELECT {moves} * 3 = SUM(balance - 100) FROM account WHERE id > 10"
        assert self.server.sql(moved, database=name) == [(1,)]


class TestMariadb(MysqlConformance):
    engine_name = "mariadb"
    places = ("host", "container")
    handful = HANDFUL
