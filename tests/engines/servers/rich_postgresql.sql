-- A database with everything that pg_dump knows; needs the roles and the tablespace of test_postgresql_rich.py.
CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm; CREATE EXTENSION btree_gist; CREATE EXTENSION postgres_fdw;
CREATE SCHEMA "a.b ""c" AUTHORIZATION "the owner"; CREATE SCHEMA "ünï-日本"; COMMENT ON SCHEMA "ünï-日本" IS E'li\'ne\n2';
CREATE COLLATION german (provider = icu, locale = 'de-u-co-phonebk', deterministic = true);
CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TYPE mood AS ENUM ('sad', 'o''k', 'Happy "very"');
CREATE TYPE address AS (street text COLLATE german, number int, tags text[]);
CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE DOMAIN price AS numeric(12, 2) DEFAULT 1.5 CHECK (VALUE >= 0) NOT NULL;
CREATE DOMAIN places AS address[] CHECK (array_length(VALUE, 1) < 5);
CREATE SEQUENCE "a.b ""c"."odd; seq" AS smallint START 100 INCREMENT -7 MINVALUE -100 MAXVALUE 200 CYCLE;
SELECT nextval('"a.b ""c"."odd; seq"') FROM generate_series(1, 3);

CREATE TABLE person (id bigint GENERATED ALWAYS AS IDENTITY (START 10 INCREMENT 3) PRIMARY KEY,
  name text COLLATE german NOT NULL, alias text COLLATE blind UNIQUE, low text GENERATED ALWAYS AS (lower(name)) STORED,
  feels mood DEFAULT 'o''k', lives address, moved places, h hstore, paid price, doc jsonb, xml text, bits varbit(9),
  ip cidr, mac macaddr, at timestamptz, gone interval, raw bytea, pts point[], r span, m int4multirange, one "char",
  f4 real, f8 double precision, n numeric, u uuid, ts tsvector);
INSERT INTO person (name, alias, feels, lives, moved, h, paid, doc, bits, ip, mac, at, gone, raw, pts, r, m, one, f4, f8, n,
  u, ts)
SELECT 'nämé ' || i || E'\n\t\\."''', 'A' || i, (enum_range(NULL::mood))[1 + i % 3],
  ROW('Stra"ße, (1)', i, ARRAY['a,b', NULL, '{}'])::address, ARRAY[ROW('x', 1, NULL)::address, NULL], hstore('k' || i, NULL),
  i * 1.01, jsonb_build_object('i', i, 'n', NULL, 'd', 1e300), substring('101100111'::varbit, 1, i % 9),
  '10.0.0.0/8', '08:00:2b:01:02:03', '2026-03-29 01:30:00+00'::timestamptz + i * interval '1 hour',
  interval '1 mon -3 days 04:05:06.789', decode(lpad(to_hex(i), 6, '0') || '005c0a27', 'hex'), ARRAY[point(i, 0.1)],
  span(0.1, i), int4multirange(int4range(1, 3), int4range(5, 5 + i)), chr(65 + i % 20)::"char", 0.1, i / 3.0::float8,
  10 ^ 40 + i / 7.0, md5(i::text)::uuid, to_tsvector('simple', 'word' || i)
FROM generate_series(1, 200) i;
INSERT INTO person (name, f4, f8, n, at) VALUES ('odd', 'NaN', '-Infinity', 'NaN', 'infinity'), ('', '-0', 5e-324,
  -0.000, '0044-03-15 BC'), ('𝄞', 'Infinity', 'NaN', 'Infinity', '-infinity');
UPDATE person SET xml = repeat('ä<x>', 3000) WHERE id % 30 = 10;
ALTER TABLE person ADD CONSTRAINT young CHECK (id < 1000000000) NOT VALID;
ALTER TABLE person ALTER name SET STATISTICS 500, ALTER raw SET STORAGE EXTERNAL, SET (fillfactor = 80);
ALTER TABLE person REPLICA IDENTITY FULL; ALTER TABLE person CLUSTER ON person_pkey;
CREATE STATISTICS likely (dependencies, mcv) ON feels, one FROM person;

CREATE TABLE booking (room int, during tstzrange, who bigint REFERENCES person DEFERRABLE INITIALLY DEFERRED,
  EXCLUDE USING gist (room WITH =, during WITH &&));
INSERT INTO booking SELECT i, tstzrange('2026-01-01Z', '2026-01-02Z', '[)'), 10 FROM generate_series(1, 20) i;
CREATE TABLE measure (at date NOT NULL, region text NOT NULL, v numeric, PRIMARY KEY (at, region)) PARTITION BY RANGE (at);
CREATE TABLE measure_1 PARTITION OF measure FOR VALUES FROM ('2026-01-01') TO ('2026-02-01') PARTITION BY LIST (region);
CREATE TABLE "measure 1 n" PARTITION OF measure_1 FOR VALUES IN ('n'); CREATE TABLE "a.b ""c".m PARTITION OF measure_1
  FOR VALUES IN ('s'); CREATE TABLE measure_rest PARTITION OF measure DEFAULT;
INSERT INTO measure SELECT date '2026-01-01' + i, CASE i % 2 WHEN 0 THEN 'n' ELSE 's' END, i / 3.0
  FROM generate_series(0, 60) i;
CREATE INDEX ON measure (v); CREATE TABLE hashed (k int PRIMARY KEY) PARTITION BY HASH (k);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed SELECT generate_series(1, 50);
CREATE TABLE parent (a int CHECK (a > 0), t text DEFAULT 'p'); CREATE TABLE child (b int) INHERITS (parent);
ALTER TABLE child ALTER t SET DEFAULT 'c'; INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 'x', 3); INSERT INTO child VALUES (4);
CREATE UNLOGGED TABLE cache (k int PRIMARY KEY); INSERT INTO cache VALUES (1);
CREATE TABLE aside (a int) TABLESPACE "other disk"; INSERT INTO aside VALUES (1);
CREATE INDEX aside_a ON aside (a) TABLESPACE "other disk";
CREATE TABLE "ünï-日本"."new
line" ("co""l" int, "-dash" text); INSERT INTO "ünï-日本"."new
line" VALUES (1, E'\\N'), (2, NULL), (3, '\N');
CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE dropped (a int, b int, c int); ALTER TABLE dropped DROP b; INSERT INTO dropped VALUES (1, 3);
CREATE TABLE account (id int PRIMARY KEY, balance bigint); INSERT INTO account SELECT i, 100 FROM generate_series(1, 20) i;
CREATE TABLE journal (what text);

CREATE INDEX person_trgm ON person USING gin (name gin_trgm_ops) WHERE id > 5;
CREATE UNIQUE INDEX person_expr ON person ((lower(name) || id::text) COLLATE "C" DESC NULLS LAST) INCLUDE (feels);
CREATE INDEX person_brin ON person USING brin (at); CREATE INDEX person_hash ON person USING hash (u);
CREATE VIEW rich WITH (security_barrier) AS SELECT id, name FROM person WHERE paid > 3 WITH LOCAL CHECK OPTION;
CREATE RECURSIVE VIEW counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 3;
CREATE MATERIALIZED VIEW totals AS SELECT feels, count(*) AS c FROM person GROUP BY feels WITH DATA;
CREATE UNIQUE INDEX ON totals (feels); CREATE MATERIALIZED VIEW later AS SELECT c FROM totals WITH NO DATA;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $f$
  BEGIN INSERT INTO journal VALUES (TG_OP || $$ it's $$); RETURN NULL; END $f$;
CREATE PROCEDURE tidy(INOUT n int DEFAULT 3) LANGUAGE sql BEGIN ATOMIC SELECT n + 1; END;
CREATE AGGREGATE joined (text) (sfunc = textcat, stype = text, initcond = '');
CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq, commutator = ===);
CREATE CAST (address AS text) WITH INOUT AS ASSIGNMENT;
CREATE TEXT SEARCH CONFIGURATION ours (COPY = simple);
CREATE TRIGGER noted AFTER INSERT OR UPDATE OF name ON person FOR EACH ROW WHEN (NEW.id > 0) EXECUTE FUNCTION note();
ALTER TABLE person DISABLE TRIGGER noted;
CREATE CONSTRAINT TRIGGER late AFTER DELETE ON booking DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
CREATE RULE no_delete AS ON DELETE TO cache DO INSTEAD NOTHING;
ALTER TABLE person ENABLE ROW LEVEL SECURITY; ALTER TABLE person FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON person FOR SELECT TO "a;reader" USING (name = current_user);
CREATE FUNCTION watched() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE EVENT TRIGGER "on ddl" ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION watched();
CREATE PUBLICATION news FOR TABLE person (id, name) WHERE (id > 3), booking WITH (publish = 'insert');
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'db.example', dbname 'it''s');
CREATE USER MAPPING FOR "a;reader" SERVER elsewhere OPTIONS (user 'x', password 'p"w''');
CREATE FOREIGN TABLE far (a int OPTIONS (column_name 'b')) SERVER elsewhere OPTIONS (table_name 't');
ALTER DEFAULT PRIVILEGES FOR ROLE "the owner" IN SCHEMA "a.b ""c" GRANT SELECT ON TABLES TO "a;reader" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT SELECT (name), UPDATE (alias) ON person TO "a;reader"; GRANT USAGE ON SCHEMA "a.b ""c" TO PUBLIC;
REVOKE ALL ON FUNCTION note() FROM PUBLIC; ALTER TABLE booking OWNER TO "o'ther"; ALTER TABLE "a.b ""c".m OWNER TO
  "the owner"; ALTER TYPE mood OWNER TO "o'ther"; SELECT lo_from_bytea(9000 + i, decode(repeat('00ff5c0a', i * 700), 'hex'))
  FROM generate_series(1, 5) i;
COMMENT ON COLUMN person.raw IS 'it''s raw'; COMMENT ON LARGE OBJECT 9001 IS 'large'; COMMENT ON EXTENSION hstore IS 'ours';
GRANT SELECT ON LARGE OBJECT 9002 TO "a;reader"; ALTER LARGE OBJECT 9003 OWNER TO "o'ther";
