-- Version 2. Times are milliseconds since 1970 UTC. References are what `prune.rs` deletes together; SQLite does not enforce
-- them, which would cost a look-up for each row.
CREATE TABLE deliveries (
  seq         INTEGER PRIMARY KEY,
  id          TEXT    NOT NULL UNIQUE,
  digest      BLOB,
  redelivery  INTEGER NOT NULL,
  event       TEXT    NOT NULL,
  action      TEXT,
  repository  TEXT,
  headline    TEXT    NOT NULL,
  note        TEXT,
  received_at INTEGER NOT NULL
) STRICT;
CREATE INDEX deliveries_by_time ON deliveries (received_at);

-- Apart from the deliveries, so that listing those reads no payload. Its row goes first when room is short.
CREATE TABLE payloads (
  delivery INTEGER PRIMARY KEY REFERENCES deliveries (seq),
  body     BLOB NOT NULL  -- zstd with its checksum
) STRICT;

CREATE TABLE jobs (
  seq              INTEGER PRIMARY KEY,
  delivery         INTEGER NOT NULL REFERENCES deliveries (seq),
  lane             TEXT    NOT NULL,
  key              TEXT    NOT NULL,
  grp              TEXT,
  version          INTEGER,
  bytes            INTEGER NOT NULL,  -- of the stored payload
  redelivery       INTEGER NOT NULL,  -- the delivery's, when this job was last sent on its way
  state            TEXT    NOT NULL CHECK (state IN ('pending', 'leased', 'done', 'dead', 'superseded')),
  first            INTEGER NOT NULL,  -- 1: the one open job of its key that may be worked on; the others wait for it
  attempts         INTEGER NOT NULL DEFAULT 0,
  first_attempt_at INTEGER,
  due_at           INTEGER NOT NULL,  -- 0: at once, whatever the clock says
  token            INTEGER,  -- of the current lease
  leased_until     INTEGER,
  checkpoint       BLOB,
  error            TEXT,
  finish           TEXT,     -- JSON
  outcome          TEXT,     -- the finish's state, to filter by
  finished_at      INTEGER,
  finished_seq     INTEGER,
  UNIQUE (delivery, lane)
) STRICT;
CREATE INDEX jobs_due ON jobs (lane, due_at) WHERE first = 1 AND state = 'pending';
CREATE INDEX jobs_leased ON jobs (lane, leased_until) WHERE state = 'leased';
CREATE INDEX jobs_open_by_key ON jobs (lane, key, seq) WHERE state IN ('pending', 'leased');
CREATE INDEX jobs_open ON jobs (lane, delivery) WHERE state IN ('pending', 'leased');
CREATE INDEX jobs_dead ON jobs (delivery) WHERE state = 'dead';
CREATE UNIQUE INDEX jobs_finished ON jobs (finished_seq) WHERE finished_seq IS NOT NULL;
CREATE INDEX jobs_by_group ON jobs (lane, grp, version) WHERE grp IS NOT NULL;

CREATE TABLE history (
  seq    INTEGER PRIMARY KEY,
  job    INTEGER NOT NULL REFERENCES jobs (seq),
  at     INTEGER NOT NULL,
  what   TEXT    NOT NULL,
  detail TEXT
) STRICT;
CREATE INDEX history_by_job ON history (job, seq);

-- The last position given out in the feed of ended jobs: never given out twice, even if the job is revived. A store
-- that was lost and begun again has another epoch, so that a reader notices.
CREATE TABLE feed (last INTEGER NOT NULL, epoch INTEGER NOT NULL) STRICT;
INSERT INTO feed VALUES (0, abs(random() % 9007199254740992));

-- Filled and emptied again to find out whether a disk that was full has room.
CREATE TABLE scratch (filler BLOB NOT NULL) STRICT;

CREATE TABLE cursors (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Jobs and their bytes per lane and state: counting the rows for every put or scrape would cost more with each one. Kept
-- by triggers, but for new jobs, which a group of writes adds up before it commits.
CREATE TABLE counts (lane TEXT NOT NULL, state TEXT NOT NULL, n INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (lane, state)) STRICT, WITHOUT ROWID;
CREATE TRIGGER jobs_moved AFTER UPDATE OF state ON jobs WHEN OLD.state <> NEW.state BEGIN
  INSERT INTO counts VALUES (OLD.lane, OLD.state, -1, -OLD.bytes) ON CONFLICT DO UPDATE SET n = n - 1, bytes = bytes - OLD.bytes;
  INSERT INTO counts VALUES (NEW.lane, NEW.state, 1, NEW.bytes) ON CONFLICT DO UPDATE SET n = n + 1, bytes = bytes + NEW.bytes;
END;
CREATE TRIGGER jobs_removed AFTER DELETE ON jobs BEGIN
  INSERT INTO counts VALUES (OLD.lane, OLD.state, -1, -OLD.bytes) ON CONFLICT DO UPDATE SET n = n - 1, bytes = bytes - OLD.bytes;
END;
