-- Version 1 to 2: payloads apart from deliveries, bytes counted, indexes for leasing and for what an operator looks for,
-- an epoch for the feed. Replays are recognised in memory. Nothing is deleted by cascade any more.
CREATE TABLE payloads (
  delivery INTEGER PRIMARY KEY REFERENCES deliveries (seq),
  body     BLOB NOT NULL
) STRICT;
INSERT INTO payloads SELECT seq, payload FROM deliveries;
DROP INDEX deliveries_by_digest;
DROP INDEX deliveries_by_repository;
ALTER TABLE deliveries DROP COLUMN payload;
CREATE INDEX deliveries_by_time ON deliveries (received_at);

DROP TRIGGER jobs_added;
DROP TRIGGER jobs_moved;
DROP TRIGGER jobs_removed;
DROP TABLE counts;
CREATE TABLE jobs_2 (
  seq              INTEGER PRIMARY KEY,
  delivery         INTEGER NOT NULL REFERENCES deliveries (seq),
  lane             TEXT    NOT NULL,
  key              TEXT    NOT NULL,
  grp              TEXT,
  version          INTEGER,
  bytes            INTEGER NOT NULL,
  redelivery       INTEGER NOT NULL,
  state            TEXT    NOT NULL CHECK (state IN ('pending', 'leased', 'done', 'dead', 'superseded')),
  first            INTEGER NOT NULL,
  attempts         INTEGER NOT NULL DEFAULT 0,
  first_attempt_at INTEGER,
  due_at           INTEGER NOT NULL,
  token            INTEGER,
  leased_until     INTEGER,
  checkpoint       BLOB,
  error            TEXT,
  finish           TEXT,
  outcome          TEXT,
  finished_at      INTEGER,
  finished_seq     INTEGER,
  UNIQUE (delivery, lane)
) STRICT;
INSERT INTO jobs_2 SELECT seq, delivery, lane, key, grp, version, (SELECT length(body) FROM payloads p WHERE p.delivery = jobs.delivery),
  (SELECT redelivery FROM deliveries d WHERE d.seq = jobs.delivery),
  state, first, attempts, first_attempt_at, due_at, token, leased_until, checkpoint, error, finish, outcome, finished_at, finished_seq FROM jobs;
DROP TABLE jobs;
ALTER TABLE jobs_2 RENAME TO jobs;
CREATE INDEX jobs_due ON jobs (lane, due_at) WHERE first = 1 AND state = 'pending';
CREATE INDEX jobs_leased ON jobs (lane, leased_until) WHERE state = 'leased';
CREATE INDEX jobs_open_by_key ON jobs (lane, key, seq) WHERE state IN ('pending', 'leased');
CREATE INDEX jobs_open ON jobs (lane, delivery) WHERE state IN ('pending', 'leased');
CREATE INDEX jobs_dead ON jobs (delivery) WHERE state = 'dead';
CREATE UNIQUE INDEX jobs_finished ON jobs (finished_seq) WHERE finished_seq IS NOT NULL;
CREATE INDEX jobs_by_group ON jobs (lane, grp, version) WHERE grp IS NOT NULL;

-- Early files of version 1 have none.
CREATE TABLE IF NOT EXISTS scratch (filler BLOB NOT NULL) STRICT;

ALTER TABLE feed ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
UPDATE feed SET epoch = abs(random() % 9007199254740992);

CREATE TABLE counts (lane TEXT NOT NULL, state TEXT NOT NULL, n INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (lane, state)) STRICT, WITHOUT ROWID;
INSERT INTO counts SELECT lane, state, count(*), sum(bytes) FROM jobs GROUP BY lane, state;
CREATE TRIGGER jobs_moved AFTER UPDATE OF state ON jobs WHEN OLD.state <> NEW.state BEGIN
  INSERT INTO counts VALUES (OLD.lane, OLD.state, -1, -OLD.bytes) ON CONFLICT DO UPDATE SET n = n - 1, bytes = bytes - OLD.bytes;
  INSERT INTO counts VALUES (NEW.lane, NEW.state, 1, NEW.bytes) ON CONFLICT DO UPDATE SET n = n + 1, bytes = bytes + NEW.bytes;
END;
CREATE TRIGGER jobs_removed AFTER DELETE ON jobs BEGIN
  INSERT INTO counts VALUES (OLD.lane, OLD.state, -1, -OLD.bytes) ON CONFLICT DO UPDATE SET n = n - 1, bytes = bytes - OLD.bytes;
END;
