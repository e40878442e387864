-- owner: whose the dumped file was, as JSON; NULL for kinds that are no single file, and for what was stored before.
ALTER TABLE item ADD COLUMN owner TEXT;
