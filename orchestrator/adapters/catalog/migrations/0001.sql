-- Times are microseconds since 1970-01-01 UTC. Tables are private and may change; the views below are the interface.

CREATE TABLE state (
  level INTEGER PRIMARY KEY,
  word  TEXT NOT NULL UNIQUE
);
INSERT INTO state VALUES
  (0, 'failed'), (1, 'taken'), (2, 'committed'), (3, 'checked'), (4, 'restored'), (5, 'proven');

CREATE TABLE repository (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  seen INTEGER
);

-- The texts of policy.yml and services.yml as a manifest carried them, once for all points that carry the same.
CREATE TABLE policy (
  id     INTEGER PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE,
  sha256 TEXT NOT NULL,
  files  TEXT NOT NULL
);

CREATE TABLE point (
  id      INTEGER PRIMARY KEY,
  run     TEXT NOT NULL,
  service TEXT NOT NULL,
  tier    TEXT NOT NULL,
  host    TEXT NOT NULL,
  machine TEXT NOT NULL,
  time    INTEGER NOT NULL,
  ended   INTEGER NOT NULL,
  result  TEXT NOT NULL,
  partial INTEGER NOT NULL CHECK (partial IN (0, 1)),
  damaged INTEGER NOT NULL DEFAULT 0 CHECK (damaged IN (0, 1)),
  policy  INTEGER NOT NULL REFERENCES policy (id),
  tools   TEXT NOT NULL,
  UNIQUE (run, service, tier)
);
CREATE INDEX point_by_service ON point (service, tier, time);
CREATE INDEX point_by_policy ON point (policy);

CREATE TABLE source (
  id      INTEGER PRIMARY KEY,
  point   INTEGER NOT NULL REFERENCES point (id) ON DELETE CASCADE,
  name    TEXT NOT NULL,
  engine  TEXT NOT NULL,
  outcome TEXT NOT NULL,
  state   INTEGER NOT NULL REFERENCES state (level),
  bytes   INTEGER NOT NULL,
  error   TEXT NOT NULL,
  server  TEXT NOT NULL,
  UNIQUE (point, name)
);

-- part: paths|dumps|stream; slot: which snapshot of the point holds it; hint: its restic ID where it was written first.
CREATE TABLE item (
  id           INTEGER PRIMARY KEY,
  source       INTEGER NOT NULL REFERENCES source (id) ON DELETE CASCADE,
  name         TEXT NOT NULL,
  part         TEXT NOT NULL,
  slot         TEXT NOT NULL,
  hint         TEXT NOT NULL,
  tree         TEXT,
  path         TEXT NOT NULL,
  bytes        INTEGER NOT NULL,
  sha256       TEXT,
  role         TEXT NOT NULL,
  extension    TEXT NOT NULL,
  seconds      REAL NOT NULL,
  counts       TEXT NOT NULL,
  counts_exact INTEGER NOT NULL,
  as_of        INTEGER,
  UNIQUE (source, role, name)
);

-- A repository holds a point as long as the point's commit is here.
CREATE TABLE snapshot (
  id         INTEGER PRIMARY KEY,
  point      INTEGER NOT NULL REFERENCES point (id) ON DELETE CASCADE,
  repository INTEGER NOT NULL REFERENCES repository (id),
  part       TEXT NOT NULL,
  restic_id  TEXT NOT NULL,
  UNIQUE (repository, point, part)
);
CREATE INDEX snapshot_by_point ON snapshot (point);

CREATE TABLE run (
  id               INTEGER PRIMARY KEY,
  name             TEXT NOT NULL UNIQUE,
  command          TEXT NOT NULL,
  host             TEXT NOT NULL DEFAULT '',
  started          INTEGER NOT NULL,
  ended            INTEGER,
  dead             INTEGER,
  result           TEXT,
  exit_code        INTEGER,
  error            TEXT NOT NULL DEFAULT '',
  hint             TEXT,
  restic_processes INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX run_by_start ON run (started);

CREATE TABLE run_service (
  id          INTEGER PRIMARY KEY,
  run         INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  service     TEXT NOT NULL,
  tier        TEXT NOT NULL,
  point       TEXT NOT NULL,
  time        INTEGER,
  ended       INTEGER,
  commit_id   TEXT NOT NULL,
  added       INTEGER NOT NULL,
  error       TEXT NOT NULL,
  UNIQUE (run, service, tier)
);

CREATE TABLE run_source (
  id          INTEGER PRIMARY KEY,
  run_service INTEGER NOT NULL REFERENCES run_service (id) ON DELETE CASCADE,
  name        TEXT NOT NULL,
  engine      TEXT NOT NULL,
  state       TEXT NOT NULL,
  bytes       INTEGER NOT NULL,
  seconds     REAL NOT NULL,
  exit_code   INTEGER NOT NULL,
  server      TEXT NOT NULL,
  tool        TEXT NOT NULL,
  error       TEXT NOT NULL,
  hint        TEXT,
  UNIQUE (run_service, name)
);
CREATE INDEX run_source_by_name ON run_source (name, state);

CREATE TABLE run_repository (
  id        INTEGER PRIMARY KEY,
  run       INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  name      TEXT NOT NULL,
  url       TEXT NOT NULL,
  added     INTEGER NOT NULL,
  retention TEXT NOT NULL,
  check_    TEXT NOT NULL,
  error     TEXT NOT NULL,
  UNIQUE (run, name)
);

CREATE TABLE forgotten (
  id         INTEGER PRIMARY KEY,
  run        INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  point      TEXT NOT NULL,
  repository TEXT NOT NULL,
  snapshots  TEXT NOT NULL,
  reason     TEXT NOT NULL
);
CREATE INDEX forgotten_by_run ON forgotten (run);

-- The same event may be given twice, by itself and with its run's record: it is kept once.
CREATE TABLE event (
  id         INTEGER PRIMARY KEY,
  time       INTEGER NOT NULL,
  name       TEXT NOT NULL,
  severity   TEXT NOT NULL,
  message    TEXT NOT NULL,
  hint       TEXT,
  run        TEXT NOT NULL,
  service    TEXT NOT NULL,
  source     TEXT NOT NULL,
  repository TEXT NOT NULL,
  UNIQUE (time, name, run, service, source, repository, message)
);
CREATE INDEX event_by_run ON event (run);

CREATE TABLE check_result (
  id         INTEGER PRIMARY KEY,
  time       INTEGER NOT NULL,
  repository TEXT NOT NULL,
  subject    TEXT NOT NULL,
  data       TEXT NOT NULL,
  errors     TEXT NOT NULL,
  seconds    REAL NOT NULL,
  UNIQUE (repository, subject, time)
);

CREATE TABLE outbox (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  channel    TEXT NOT NULL,
  title      TEXT NOT NULL,
  body       TEXT NOT NULL,
  severity   TEXT NOT NULL,
  created    INTEGER NOT NULL,
  tries      INTEGER NOT NULL DEFAULT 0,
  last_error TEXT NOT NULL DEFAULT ''
);

CREATE TABLE value (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

-- The views: what people and their scripts may rely on. Times are text, UTC.

CREATE VIEW sources AS
SELECT p.service || '.' || p.tier || '@' || p.run AS point,
       p.service, p.tier, p.run,
       s.name AS source, s.engine, s.outcome,
       (SELECT word FROM state WHERE level = s.state) AS state,
       (SELECT count(*) FROM item i WHERE i.source = s.id) AS items,
       s.bytes,
       (SELECT coalesce(sum(i.seconds), 0) FROM item i WHERE i.source = s.id) AS seconds,
       s.error
FROM source s JOIN point p ON p.id = s.point;

CREATE VIEW items AS
SELECT p.service || '.' || p.tier || '@' || p.run AS point,
       p.service, p.tier, p.run,
       s.name AS source, i.name AS item, i.role, i.part, i.path, i.bytes, i.sha256, i.seconds, i.counts,
       strftime('%Y-%m-%dT%H:%M:%SZ', i.as_of / 1000000, 'unixepoch') AS as_of
FROM item i JOIN source s ON s.id = i.source JOIN point p ON p.id = s.point;

CREATE VIEW points AS
SELECT p.service || '.' || p.tier || '@' || p.run AS point,
       p.service, p.tier, p.run,
       strftime('%Y-%m-%dT%H:%M:%SZ', p.time / 1000000, 'unixepoch') AS time,
       strftime('%Y-%m-%dT%H:%M:%SZ', p.ended / 1000000, 'unixepoch') AS ended,
       (SELECT word FROM state
        WHERE level = coalesce((SELECT min(s.state) FROM source s WHERE s.point = p.id), 2)) AS state,
       p.partial, p.damaged,
       (SELECT count(*) FROM source s WHERE s.point = p.id) AS sources,
       (SELECT coalesce(sum(s.bytes), 0) FROM source s WHERE s.point = p.id) AS bytes,
       (SELECT group_concat(r.name, ' ') FROM snapshot n JOIN repository r ON r.id = n.repository
        WHERE n.point = p.id AND n.part = 'commit') AS repositories
FROM point p;

CREATE VIEW unproven_points AS
SELECT * FROM points WHERE state <> 'proven' OR damaged = 1 OR partial = 1;

CREATE VIEW snapshots AS
SELECT r.name AS repository, n.restic_id, n.part,
       p.service || '.' || p.tier || '@' || p.run AS point
FROM snapshot n JOIN repository r ON r.id = n.repository JOIN point p ON p.id = n.point;

CREATE VIEW services AS
SELECT service, tier, count(*) AS points, min(time) AS oldest, max(time) AS newest,
       max(CASE WHEN state = 'proven' AND partial = 0 AND damaged = 0 THEN time END) AS newest_proven
FROM points GROUP BY service, tier;

CREATE VIEW space_by_service AS
SELECT p.service, p.tier, count(*) AS points,
       (SELECT q.bytes FROM points q WHERE q.service = p.service AND q.tier = p.tier ORDER BY q.run DESC LIMIT 1)
         AS newest_bytes,
       sum(p.bytes) AS bytes,
       (SELECT coalesce(sum(r.added), 0) FROM run_service r WHERE r.service = p.service AND r.tier = p.tier) AS added
FROM points p GROUP BY p.service, p.tier;

CREATE VIEW runs AS
SELECT r.name AS run, r.command, r.host,
       strftime('%Y-%m-%dT%H:%M:%SZ', r.started / 1000000, 'unixepoch') AS started,
       strftime('%Y-%m-%dT%H:%M:%SZ', r.ended / 1000000, 'unixepoch') AS ended,
       (r.ended - r.started) / 1000000.0 AS seconds,
       CASE WHEN r.ended IS NOT NULL THEN r.result WHEN r.dead IS NOT NULL THEN 'dead' ELSE 'unfinished' END AS result,
       r.exit_code, r.error, r.hint, r.restic_processes,
       (SELECT coalesce(sum(a.added), 0) FROM run_repository a WHERE a.run = r.id) AS added
FROM run r;

CREATE VIEW failed_runs AS
SELECT run, command, started, ended, result, exit_code, error, hint FROM runs
WHERE result NOT IN ('success', 'unfinished');

CREATE VIEW run_sources AS
SELECT r.name AS run, v.service, v.tier, s.name AS source, s.engine, s.state, s.bytes, s.seconds, s.exit_code,
       s.server, s.tool, s.error, s.hint
FROM run_source s JOIN run_service v ON v.id = s.run_service JOIN run r ON r.id = v.run;

CREATE VIEW forgotten_points AS
SELECT r.name AS run, f.repository, f.point, f.reason FROM forgotten f JOIN run r ON r.id = f.run;

CREATE VIEW events AS
SELECT strftime('%Y-%m-%dT%H:%M:%SZ', time / 1000000, 'unixepoch') AS time,
       name, severity, message, hint, run, service, source, repository
FROM event;

CREATE VIEW checks AS
SELECT strftime('%Y-%m-%dT%H:%M:%SZ', time / 1000000, 'unixepoch') AS time,
       repository, subject, data, CASE errors WHEN '[]' THEN 1 ELSE 0 END AS sound, errors, seconds
FROM check_result;

CREATE VIEW repositories AS
SELECT r.name AS repository,
       strftime('%Y-%m-%dT%H:%M:%SZ', r.seen / 1000000, 'unixepoch') AS seen,
       (SELECT count(*) FROM snapshot n WHERE n.repository = r.id AND n.part = 'commit') AS points,
       (SELECT max(c.time) FROM checks c WHERE c.repository = r.name AND c.subject = '') AS checked
FROM repository r;

CREATE VIEW waiting_notifications AS
SELECT channel, title, severity,
       strftime('%Y-%m-%dT%H:%M:%SZ', created / 1000000, 'unixepoch') AS created, tries, last_error
FROM outbox;
