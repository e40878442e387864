-- cause: damage that was `read` stays until a clean read; a listing that lacked snapshots (`missing`) is corrected by the
-- next one. What was flagged before may have been either.
CREATE TABLE flagged AS SELECT point, repository FROM damage;
DROP TABLE damage;
CREATE TABLE damage (
  point      INTEGER NOT NULL REFERENCES point (id) ON DELETE CASCADE,
  repository INTEGER NOT NULL REFERENCES repository (id),
  cause      TEXT NOT NULL CHECK (cause IN ('read', 'missing')),
  PRIMARY KEY (point, repository, cause)
) WITHOUT ROWID;
INSERT INTO damage SELECT point, repository, 'read' FROM flagged;
DROP TABLE flagged;

-- A repository's damage by the part of the data that was checked: {part: error}.
UPDATE value SET value = json_object(json_extract(value, '$.part'), json_extract(value, '$.error'))
WHERE key GLOB 'damage.*' AND value <> '';

-- orphan: snapshots without a restore point.
ALTER TABLE forgotten ADD COLUMN orphan INTEGER NOT NULL DEFAULT 0 CHECK (orphan IN (0, 1));
DROP VIEW forgotten_points;
CREATE VIEW forgotten_points AS
SELECT r.name AS run, f.repository, f.point, f.orphan, f.reason FROM forgotten f JOIN run r ON r.id = f.run;
