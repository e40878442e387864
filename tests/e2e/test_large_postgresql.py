"""A gigabyte of PostgreSQL with everything that real databases have, restored under a new name and compared."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.site import Site
from tests.engines.servers.postgresql import PostgresServer

NAME = """it's "the" shop"""
COPY = "the shop's copy"

RICH = """
CREATE EXTENSION pg_trgm;
CREATE EXTENSION hstore;
CREATE SCHEMA "odd schema";
CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE SEQUENCE "odd schema"."a seq" START 1000 INCREMENT 7;
SELECT nextval('"odd schema"."a seq"');
CREATE TABLE log (id bigserial PRIMARY KEY, what text, at timestamptz DEFAULT '2026-01-01Z');
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO log (what) VALUES (TG_TABLE_NAME); RETURN NEW; END $$;
DO $$ BEGIN
  FOR n IN 1..197 LOOP
    EXECUTE format('CREATE TABLE "table %s" (id serial PRIMARY KEY, m mood, p positive, h hstore, t text)', n);
    EXECUTE format('INSERT INTO "table %s" (m, p, h, t) SELECT ''ok'', i, hstore(''k'', i::text), md5(i::text)'
                   ' FROM generate_series(1, 50) i', n);
    EXECUTE format('CREATE TRIGGER t AFTER INSERT ON "table %s" FOR EACH ROW EXECUTE FUNCTION note()', n);
  END LOOP;
END $$;
CREATE TABLE big (id bigint PRIMARY KEY, one text, two text);
INSERT INTO big SELECT n, md5(n::text) || md5((-n)::text), repeat(md5((n % 977)::text), 3)
  FROM generate_series(1, 6300000) n;
CREATE INDEX ON big USING gin (two gin_trgm_ops) WHERE id < 1000;
CREATE VIEW few AS SELECT * FROM big WHERE id < 10;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM big;
SELECT lo_from_bytea(4711, decode(repeat('00ff10', 50000), 'hex'));
CREATE TABLE holders (o oid); INSERT INTO holders VALUES (4711);
ALTER TABLE big OWNER TO "the owner";
GRANT SELECT ON few TO "a reader";
COMMENT ON TABLE big IS 'it''s big';
"""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as made:
        made.psql('CREATE ROLE "the owner"')
        made.psql('CREATE ROLE "a reader" LOGIN')
        quoted = NAME.replace('"', '""')
        made.psql(f'CREATE DATABASE "{quoted}"')
        made.psql(RICH, NAME)
        yield made


def digest(server: PostgresServer, database: str) -> str:
    """Return the digest of what pg_dump says of a database, the restrict key left out."""
    dump = subprocess.Popen(
        [
            str(server.bin / "pg_dump"),
            "-h",
            server.socket,
            "-p",
            str(server.port),
            "-U",
            "postgres",
            "-d",
            "dbname='" + database.replace("\\", "\\\\").replace("'", "\\'") + "'",
        ],
        stdout=subprocess.PIPE,
    )
    found = hashlib.sha256()
    assert dump.stdout is not None
    for line in dump.stdout:
        if not line.startswith((b"\\restrict", b"\\unrestrict")):
            found.update(line)
    dump.stdout.close()
    assert dump.wait() == 0
    return found.hexdigest()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_gigabyte_comes_back_equal(site: Site, server: PostgresServer) -> None:
    yaml_name = NAME.replace("'", "''")
    site.services(
        "services:\n  shop:\n    databases:\n"
        f"      main: {{engine: postgresql, socket: '{server.socket}', port: {server.port}, user: postgres, "
        f"database: '{yaml_name}'}}\n"
    )
    run = site.json("backup", timeout=600)
    source = run["services"][0]["sources"][0]
    item = next(item for item in source["items"] if item["role"] == "data")
    print(f"{item['bytes']} bytes dumped in {item['seconds']} s, {len(item['counts'])} counts")
    assert item["bytes"] > 950_000_000
    assert item["counts"]["public.big"] == 6_300_000
    assert len([name for name in item["counts"] if "table " in name and not name.startswith("#")]) == 197
    done = site.json("restore", "shop", "--latest", "--as", COPY, timeout=900)
    assert done["result"] == "success"
    assert site.points()[0]["state"] == "restored"
    assert digest(server, COPY) == digest(server, NAME)
    server.psql("INSERT INTO log (what) VALUES ('one more')", COPY)
    assert digest(server, COPY) != digest(server, NAME)
