PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE deliveries (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT    NOT NULL UNIQUE,
  digest      BLOB,
  redelivery  INTEGER NOT NULL,
  event       TEXT    NOT NULL,
  action      TEXT,
  repository  TEXT,
  headline    TEXT    NOT NULL,
  note        TEXT,
  received_at INTEGER NOT NULL,
  payload     BLOB    NOT NULL  -- zstd
) STRICT;
INSERT INTO deliveries VALUES(1,'done',X'0404040404040404040404040404040404040404040404040404040404040404',0,'pull_request','synchronize','octo/shop','the headline of done',NULL,1764000000000,X'28b52ffd20a0bd0100a4027b227061796c6f6164223a226f6620646f6e65222c22776f726473223a22616761696e20616e6420227d0300666682140cd0ac9401');
INSERT INTO deliveries VALUES(2,'dead',X'0404040404040404040404040404040404040404040404040404040404040404',0,'pull_request','synchronize','octo/shop','the headline of dead',NULL,1764000000000,X'28b52ffd20a0bd0100a4027b227061796c6f6164223a226f662064656164222c22776f726473223a22616761696e20616e6420227d0300666682140cd0ac9401');
INSERT INTO deliveries VALUES(3,'again',X'0505050505050505050505050505050505050505050505050505050505050505',1,'pull_request','synchronize','octo/shop','the headline of again',NULL,1764000000000,X'28b52ffd20a195010064027b227061796c6f6164223a226f6620616761696e222c22776f726473223a2220616e6420227d03000c24d0e2f4234c27');
INSERT INTO deliveries VALUES(4,'ignored',X'0707070707070707070707070707070707070707070707070707070707070707',0,'pull_request','synchronize','octo/shop','the headline of ignored','no rule wants it',1764000000000,X'28b52ffd20a3d50100d4027b227061796c6f6164223a226f662069676e6f726564222c22776f726473223a22616761696e20616e6420227d0300666682140cd6ac9401');
INSERT INTO deliveries VALUES(5,'retried',X'0707070707070707070707070707070707070707070707070707070707070707',0,'pull_request','synchronize','octo/shop','the headline of retried',NULL,1764000000000,X'28b52ffd20a3d50100d4027b227061796c6f6164223a226f662072657472696564222c22776f726473223a22616761696e20616e6420227d0300666682140cd6ac9401');
INSERT INTO deliveries VALUES(6,'old-head',X'0808080808080808080808080808080808080808080808080808080808080808',0,'pull_request','synchronize','octo/shop','the headline of old-head',NULL,1764000000000,X'28b52ffd20a4dd0100e4027b227061796c6f6164223a226f66206f6c642d68656164222c22776f726473223a22616761696e20616e6420227d0300666682140cd8ac9401');
INSERT INTO deliveries VALUES(7,'new-head',X'0808080808080808080808080808080808080808080808080808080808080808',0,'pull_request','synchronize','octo/shop','the headline of new-head',NULL,1764000000000,X'28b52ffd20a4dd0100e4027b227061796c6f6164223a226f66206e65772d68656164222c22776f726473223a22616761696e20616e6420227d0300666682140cd8ac9401');
INSERT INTO deliveries VALUES(8,'behind',X'0606060606060606060606060606060606060606060606060606060606060606',0,'pull_request','synchronize','octo/shop','the headline of behind',NULL,1764000000000,X'28b52ffd20a2cd0100c4027b227061796c6f6164223a226f6620626568696e64222c22776f726473223a22616761696e20616e6420227d0300666682140cd4ac9401');
INSERT INTO deliveries VALUES(9,'held',X'0404040404040404040404040404040404040404040404040404040404040404',0,'pull_request','synchronize','octo/shop','the headline of held',NULL,1764000000000,X'28b52ffd20a0bd0100a4027b227061796c6f6164223a226f662068656c64222c22776f726473223a22616761696e20616e6420227d0300666682140cd0ac9401');
CREATE TABLE jobs (
  seq              INTEGER PRIMARY KEY AUTOINCREMENT,
  delivery         INTEGER NOT NULL REFERENCES deliveries (seq) ON DELETE CASCADE,
  lane             TEXT    NOT NULL,
  key              TEXT    NOT NULL,
  grp              TEXT,
  version          INTEGER,
  state            TEXT    NOT NULL CHECK (state IN ('pending', 'leased', 'done', 'dead', 'superseded')),
  first            INTEGER NOT NULL,  -- 1: the one open job of its key that may be worked on; the others wait for it
  attempts         INTEGER NOT NULL DEFAULT 0,
  first_attempt_at INTEGER,
  due_at           INTEGER NOT NULL,
  token            INTEGER,  -- of the current lease
  leased_until     INTEGER,
  checkpoint       BLOB,
  error            TEXT,
  finish           TEXT,     -- JSON
  outcome          TEXT,     -- the finish's state, to filter by
  finished_at      INTEGER,
  finished_seq     INTEGER UNIQUE,
  UNIQUE (delivery, lane)
) STRICT;
INSERT INTO jobs VALUES(1,1,'claude','k1',NULL,NULL,'done',0,1,1764000002000,1764000001000,1466077092336795420,NULL,NULL,NULL,'{"state":"completed","summary":"reviewed, two findings","url":"https://github.com/octo/shop/pull/7","detail":{}}','completed',1764000003000,1);
INSERT INTO jobs VALUES(2,1,'ollama','k1',NULL,NULL,'done',0,1,1764000004000,1764000001000,290495441736224330,NULL,NULL,NULL,'{"state":"completed","summary":"reviewed, two findings","url":"https://github.com/octo/shop/pull/7","detail":{}}','completed',1764000005000,2);
INSERT INTO jobs VALUES(3,2,'claude','k2',NULL,NULL,'dead',0,1,1764000007000,1764000006000,4757435484251466805,NULL,NULL,'the target says 400','{"state":"failed","summary":"the target says 400","url":null,"detail":{}}','failed',1764000008000,3);
INSERT INTO jobs VALUES(4,3,'claude','k3',NULL,NULL,'pending',1,0,NULL,1764000012000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO jobs VALUES(5,5,'ollama','k4',NULL,NULL,'pending',1,1,1764000015000,1764003600000,NULL,NULL,X'68616c66206f66206974','the connection was lost',NULL,NULL,NULL,NULL);
INSERT INTO jobs VALUES(6,6,'claude','pr/7','pr/7/head',1,'superseded',0,0,NULL,1764000017000,NULL,NULL,NULL,NULL,'{"state":"superseded","summary":"a newer event of the same subject took its place before it was begun","url":null,"detail":{}}','superseded',1764000018000,5);
INSERT INTO jobs VALUES(7,7,'claude','pr/7','pr/7/head',2,'pending',1,0,NULL,1764000018000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO jobs VALUES(8,7,'ollama','pr/7',NULL,NULL,'leased',1,1,1764000021000,1764000018000,5821248457721281816,1764003621000,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO jobs VALUES(9,8,'claude','pr/7',NULL,NULL,'pending',0,0,NULL,1764000019000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO jobs VALUES(10,9,'ollama','k5',NULL,NULL,'leased',1,1,1764000021000,1764000020000,2691631683038187100,1764003621000,X'626567756e',NULL,NULL,NULL,NULL,NULL);
CREATE TABLE history (
  seq    INTEGER PRIMARY KEY,
  job    INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  at     INTEGER NOT NULL,
  what   TEXT    NOT NULL,
  detail TEXT
) STRICT;
INSERT INTO history VALUES(1,1,1764000003000,'completed','reviewed, two findings');
INSERT INTO history VALUES(2,2,1764000005000,'completed','reviewed, two findings');
INSERT INTO history VALUES(3,3,1764000008000,'failed','the target says 400');
INSERT INTO history VALUES(4,4,1764000011000,'skipped','a draft');
INSERT INTO history VALUES(5,4,1764000012000,'sent again',NULL);
INSERT INTO history VALUES(6,5,1764000016000,'failed','the connection was lost');
INSERT INTO history VALUES(7,6,1764000018000,'superseded','a newer event of the same subject took its place before it was begun');
CREATE TABLE feed (last INTEGER NOT NULL) STRICT;
INSERT INTO feed VALUES(5);
CREATE TABLE scratch (filler BLOB NOT NULL) STRICT;
CREATE TABLE cursors (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO cursors VALUES('claude/outcomes',41);
CREATE TABLE counts (lane TEXT NOT NULL, state TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (lane, state)) STRICT, WITHOUT ROWID;
INSERT INTO counts VALUES('claude','dead',1);
INSERT INTO counts VALUES('claude','done',1);
INSERT INTO counts VALUES('claude','leased',0);
INSERT INTO counts VALUES('claude','pending',3);
INSERT INTO counts VALUES('claude','superseded',1);
INSERT INTO counts VALUES('ollama','done',1);
INSERT INTO counts VALUES('ollama','leased',2);
INSERT INTO counts VALUES('ollama','pending',1);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('deliveries',9);
INSERT INTO sqlite_sequence VALUES('jobs',10);
CREATE INDEX deliveries_by_digest ON deliveries (digest, received_at) WHERE digest IS NOT NULL;
CREATE INDEX deliveries_by_repository ON deliveries (repository, seq);
CREATE INDEX jobs_first ON jobs (lane, seq) WHERE first = 1;
CREATE INDEX jobs_due ON jobs (lane, due_at) WHERE first = 1 AND state = 'pending';
CREATE INDEX jobs_open_by_key ON jobs (lane, key, seq) WHERE state IN ('pending', 'leased');
CREATE INDEX jobs_open ON jobs (lane, seq) WHERE state IN ('pending', 'leased');
CREATE INDEX jobs_by_group ON jobs (lane, grp, version) WHERE grp IS NOT NULL;
CREATE INDEX history_by_job ON history (job, seq);
CREATE TRIGGER jobs_added AFTER INSERT ON jobs BEGIN
  INSERT INTO counts VALUES (NEW.lane, NEW.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER jobs_moved AFTER UPDATE OF state ON jobs WHEN OLD.state <> NEW.state BEGIN
  UPDATE counts SET n = n - 1 WHERE lane = OLD.lane AND state = OLD.state;
  INSERT INTO counts VALUES (NEW.lane, NEW.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER jobs_removed AFTER DELETE ON jobs BEGIN
  UPDATE counts SET n = n - 1 WHERE lane = OLD.lane AND state = OLD.state;
END;
COMMIT;
