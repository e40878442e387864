-- rules: the retention rules that ran last when a manifest was written, by repository, as JSON.
ALTER TABLE policy ADD COLUMN rules TEXT NOT NULL DEFAULT '{}';

-- A state is earned, and damage found, in one repository: the copy in another may be better or worse.
CREATE TABLE earned (
  source     INTEGER NOT NULL REFERENCES source (id) ON DELETE CASCADE,
  repository INTEGER NOT NULL REFERENCES repository (id),
  state      INTEGER NOT NULL REFERENCES state (level),
  PRIMARY KEY (source, repository)
) WITHOUT ROWID;
CREATE TABLE damage (
  point      INTEGER NOT NULL REFERENCES point (id) ON DELETE CASCADE,
  repository INTEGER NOT NULL REFERENCES repository (id),
  PRIMARY KEY (point, repository)
) WITHOUT ROWID;
INSERT INTO earned
SELECT s.id, n.repository, s.state FROM source s JOIN snapshot n ON n.point = s.point AND n.part = 'commit'
WHERE s.state > 2;
INSERT INTO damage
SELECT p.id, n.repository FROM point p JOIN snapshot n ON n.point = p.id AND n.part = 'commit' WHERE p.damaged = 1;

-- What is left in source.state is how it was stored: failed, taken (of a partial point) or committed.
UPDATE source SET state = (SELECT 2 - p.partial FROM point p WHERE p.id = source.point) WHERE state > 2;
DROP VIEW space_by_service;
DROP VIEW services;
DROP VIEW unproven_points;
DROP VIEW points;
DROP VIEW sources;
ALTER TABLE point DROP COLUMN damaged;

-- As before, but the state is the best that was earned in any repository, and damage is what was found in any.
CREATE VIEW sources AS
SELECT p.service || '.' || p.tier || '@' || p.run AS point,
       p.service, p.tier, p.run,
       s.name AS source, s.engine, s.outcome,
       (SELECT word FROM state
        WHERE level = max(s.state, coalesce((SELECT max(e.state) FROM earned e WHERE e.source = s.id), 0))) AS state,
       (SELECT count(*) FROM item i WHERE i.source = s.id) AS items,
       s.bytes,
       (SELECT coalesce(sum(i.seconds), 0) FROM item i WHERE i.source = s.id) AS seconds,
       s.error
FROM source s JOIN point p ON p.id = s.point;

CREATE VIEW points AS
SELECT p.service || '.' || p.tier || '@' || p.run AS point,
       p.service, p.tier, p.run,
       strftime('%Y-%m-%dT%H:%M:%SZ', p.time / 1000000, 'unixepoch') AS time,
       strftime('%Y-%m-%dT%H:%M:%SZ', p.ended / 1000000, 'unixepoch') AS ended,
       (SELECT word FROM state
        WHERE level = coalesce(
          (SELECT min(max(s.state, coalesce((SELECT max(e.state) FROM earned e WHERE e.source = s.id), 0)))
           FROM source s WHERE s.point = p.id), 2)) AS state,
       p.partial, EXISTS (SELECT 1 FROM damage d WHERE d.point = p.id) AS damaged,
       (SELECT count(*) FROM source s WHERE s.point = p.id) AS sources,
       (SELECT coalesce(sum(s.bytes), 0) FROM source s WHERE s.point = p.id) AS bytes,
       (SELECT group_concat(r.name, ' ') FROM snapshot n JOIN repository r ON r.id = n.repository
        WHERE n.point = p.id AND n.part = 'commit') AS repositories
FROM point p;

CREATE VIEW unproven_points AS
SELECT * FROM points WHERE state <> 'proven' OR damaged = 1 OR partial = 1;

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
