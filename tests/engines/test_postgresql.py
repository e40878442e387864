"""The engine postgresql: the conformance suite on a real server, and what is PostgreSQL's own."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest

from orchestrator.engines.postgresql import Options
from orchestrator.engines.postgresql.quoting import ident
from orchestrator.model.engine import Item, Source
from orchestrator.model.errors import Precondition, ResguardoError, RightsMissing, ServerUnreachable, ToolMissing
from orchestrator.model.secret import Secret
from tests.engines.conformance import StreamConformance
from tests.engines.servers.postgresql import PASSWORD, SUPERUSER, PostgresServer

SCHEMA = r"""
CREATE EXTENSION pg_trgm; CREATE EXTENSION hstore;
CREATE SCHEMA "od""d sch'ema";
CREATE TYPE mood AS ENUM ('good', 'b''ad');
CREATE DOMAIN price AS numeric(12, 2) CHECK (VALUE >= 0);
CREATE TABLE customer (id serial PRIMARY KEY, name text NOT NULL, attributes hstore, feeling mood, photo bytea,
  seen timestamptz DEFAULT now(), lower_name text GENERATED ALWAYS AS (lower(name)) STORED);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY, customer int REFERENCES customer ON DELETE CASCADE,
  total price, PRIMARY KEY (id));
CREATE TABLE "od""d sch'ema"."ta.b
le" (k text PRIMARY KEY, v double precision);
CREATE TABLE measure (at date NOT NULL, v int) PARTITION BY RANGE (at);
CREATE TABLE measure_1 PARTITION OF measure FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE measure_2 PARTITION OF measure FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent);
CREATE UNLOGGED TABLE cache (k int PRIMARY KEY);
CREATE TABLE audit (what text); CREATE TABLE account (id int PRIMARY KEY, balance bigint);
CREATE INDEX customer_name ON customer USING gin (name gin_trgm_ops);
CREATE INDEX orders_large ON orders (total) WHERE total > 10; CREATE INDEX ON measure (v);
CREATE VIEW rich AS SELECT name FROM customer JOIN orders ON customer.id = orders.customer WHERE total > 100;
CREATE MATERIALIZED VIEW totals AS SELECT customer, sum(total) FROM orders GROUP BY customer;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN INSERT INTO public.audit VALUES (TG_OP); RETURN NEW; END $$;
CREATE SEQUENCE ticket START 1000 INCREMENT 7; SELECT nextval('ticket'), nextval('ticket');
INSERT INTO customer (name, attributes, feeling, photo) SELECT 'nämé ' || n || E'\n''"\\', hstore('k', n::text),
  (enum_range(NULL::mood))[1 + n % 2], decode(lpad(to_hex(n), 6, '0'), 'hex') FROM generate_series(1, 300) n;
INSERT INTO orders (customer, total) SELECT n, n * 1.5 FROM generate_series(1, 300) n;
INSERT INTO "od""d sch'ema"."ta.b
le" VALUES ('nan', 'NaN'), ('inf', '-Infinity'), (E'tab\t\\.', 1.5);
INSERT INTO measure SELECT date '2026-01-01' + n, n FROM generate_series(0, 50) n;
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3); INSERT INTO cache VALUES (1);
INSERT INTO account SELECT n, 100 FROM generate_series(1, 20) n;
CREATE TRIGGER note_it AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note();
REFRESH MATERIALIZED VIEW totals;
SELECT lo_from_bytea(5000 + n, decode(repeat('00ff5c0a', n), 'hex')) FROM generate_series(1, 9) n;
COMMENT ON TABLE customer IS 'it''s a comment';
"""
LARGE = "CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 40) AS t FROM generate_series(1, 9000) n;"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


def options(server: PostgresServer, **more: Any) -> Options:
    given = {"socket": server.socket, "port": server.port, "user": SUPERUSER} | more
    given = {key: value for key, value in given.items() if value is not None}
    return Options.model_validate(given, context={"directory": "/"})


def source_of(server: PostgresServer, secret: str = PASSWORD, timeout: float = 60.0, **more: Any) -> Source:
    return Source(
        "shop", "main", "postgresql", "default", timeout, options(server, **more), lambda _ref: Secret(secret)
    )


def databases(server: PostgresServer) -> list[str]:
    return server.psql("SELECT quote_literal(datname) FROM pg_database ORDER BY 1").split("\n")


PROPERTIES = """
SELECT pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider,
  coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), to_jsonb(d) ->> 'daticurules',
  datconnlimit, datistemplate, pg_get_userbyid(datdba), datacl::text, shobj_description(oid, 'pg_database'),
  (SELECT array_agg((setrole::regrole, setconfig) ORDER BY setrole)::text FROM pg_db_role_setting
   WHERE setdatabase = d.oid)
FROM pg_database d WHERE datname = current_database()
"""


def content(server: PostgresServer, database: str) -> tuple[str, str]:
    """Everything: pg_dump's text, and what the database itself is."""
    return server.dump(database), server.psql(PROPERTIES, database)


@contextmanager
def made(server: PostgresServer, name: str, sql: str = SCHEMA) -> Iterator[str]:
    server.psql(f"CREATE DATABASE {ident(name)}")
    try:
        server.psql(sql, name)
        yield name
    finally:
        drop_all(server)


def drop_all(server: PostgresServer) -> None:
    query = "SELECT format('DROP DATABASE %I WITH (FORCE);', datname) FROM pg_database WHERE oid >= 16384"
    for statement in server.psql(query).split(";\n"):
        if statement:
            server.psql(statement.removesuffix(";"))


class TestPostgresql(StreamConformance):
    engine_name = "postgresql"
    broken: ClassVar[Mapping[str, type[ResguardoError] | None]] = {
        "no such database": Precondition,
        "wrong password": RightsMissing,
        "no such role": RightsMissing,
        "no server": ServerUnreachable,
        "row-level security": RightsMissing,
        "unreadable table": RightsMissing,
        "unreadable large object": RightsMissing,
        "no pg_dump": ToolMissing,
        "no such authority": Precondition,
    }

    @pytest.fixture(autouse=True)
    def _server(self, server: PostgresServer) -> None:
        self.server = server

    @contextmanager
    def make_source(self, tmp: Path, *, name: str = "shop", large: bool = False) -> Iterator[Source]:
        with made(self.server, name, SCHEMA + (LARGE if large else "")):
            yield source_of(self.server, database=name, globals=False)

    @contextmanager
    def make_broken(self, label: str, tmp: Path) -> Iterator[Source]:
        self.server.psql("DROP ROLE IF EXISTS weak; CREATE ROLE weak LOGIN PASSWORD 'weak'")
        more: dict[str, Any] = {"user": "weak", "database": "shop"}
        sql = "CREATE TABLE t (a int); GRANT SELECT ON t TO weak;"
        if label == "no such database":
            more = {"database": "absent"}
        elif label == "wrong password":
            more |= {"socket": None, "host": "127.0.0.1", "password": {"env": "X"}}
        elif label == "no such role":
            more["user"] = "absent"
        elif label == "no server":
            more |= {"port": 1}
        elif label == "no such authority":
            more |= {"socket": None, "host": "127.0.0.1", "tls": {"ca": str(tmp / "missing")}}
        elif label == "row-level security":
            sql += "ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
        elif label == "unreadable table":
            sql += "CREATE TABLE hidden (a int);"
        elif label == "unreadable large object":
            sql += "SELECT lo_create(1);"
        else:
            more["tools"] = str(tmp)
        with made(self.server, "shop", sql):
            yield source_of(self.server, secret="wrong", **more)
        self.server.psql("DROP ROLE weak")

    def lasting(self, data: bytes) -> bytes:
        if Path("/etc/machine-id").exists():
            return data
        # without the machine's ID there is no key that stays the same and cannot be guessed: pg_dump takes a random one
        return re.sub(rb"(?m)^(\\(?:un)?restrict) [0-9A-Za-z]+$", rb"\1", data)

    def item_of(self, source: Source) -> Item:
        return Item(source, source.options.database, "sql")

    def new_name(self, tmp: Path, name: str) -> str:
        return name

    def exists(self, item: Item, name: str) -> bool:
        quoted = name.replace("'", "''")
        return (
            self.server.psql(
                f"SET standard_conforming_strings = on; SELECT 1 FROM pg_database WHERE datname = '{quoted}'"
            )
            == "1"
        )

    def fingerprint(self, item: Item, name: str | None) -> object:
        return content(self.server, item.name if name is None else name)

    def change_original(self, item: Item) -> None:
        self.server.psql("INSERT INTO audit VALUES ('changed')", item.name)

    def plant_difference(self, item: Item, name: str) -> None:
        self.server.psql("DELETE FROM customer WHERE id = 17", name)

    def state(self, source: Source) -> object:
        query = "SELECT json_agg(d ORDER BY oid) FROM (SELECT oid, datname, datacl FROM pg_database) d"
        return self.server.psql(query), self.server.psql("SELECT pg_current_wal_insert_lsn() IS NOT NULL")

    @contextmanager
    def write_load(self, item: Item) -> Iterator[Callable[[], int]]:
        """Two threads move money and append a row per transaction: the sum of all balances stays, audit grows."""
        over, done = threading.Event(), [0, 0]
        first = threading.Barrier(3)

        def write(number: int) -> None:
            server = self.server
            with psycopg.connect(host=server.socket, port=server.port, user=SUPERUSER, dbname=item.name) as connection:
                first.wait(20)
                while not over.is_set():
                    source, target = 1 + done[number] % 10, 11 + (done[number] * 7) % 10
                    connection.execute("UPDATE account SET balance = balance - 3 WHERE id = %s", [source])
                    connection.execute("UPDATE account SET balance = balance + 3 WHERE id = %s", [target])
                    connection.execute("INSERT INTO audit VALUES ('moved')")
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
        assert self.server.psql("SELECT sum(balance) FROM account", name) == "2000"
        moves = "(SELECT count(*) FROM audit WHERE what = 'moved')"
        moved = f"SELECT {moves} * 3 = sum(balance - 100) FROM account WHERE id > 10"
        assert self.server.psql(moved, name) == "t"


class TestPostgresqlInContainer(TestPostgresql):
    """All of it again with the tools inside a container; the handful has more in test_postgresql_container.py."""

    places = ("container",)
    handful = frozenset({"test_cut_data_restores_nothing", "test_dump_under_writes_is_consistent"})
