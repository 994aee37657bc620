-- Schema 2. Times are microseconds since 1970, UTC.

-- What was sent. Append-only: everything below can be made again from it.
CREATE TABLE records (
    seq         INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL,           -- delivery id or idempotency key
    digest      BLOB    NOT NULL,           -- SHA-256 of the body
    received_at INTEGER NOT NULL,
    body        BLOB    NOT NULL,           -- zstd
    UNIQUE (id, digest)
) STRICT;

CREATE TABLE memories (
    -- Never used twice: the embedder remembers how far it has come.
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    delivery   TEXT    NOT NULL,            -- records.id
    repository TEXT    NOT NULL COLLATE NOCASE,
    kind       TEXT    NOT NULL,
    indexed    INTEGER NOT NULL,            -- 0: kept, but no search finds it
    created_at INTEGER NOT NULL,
    digest     BLOB    NOT NULL,            -- SHA-256 of kind and text
    agent      TEXT,
    branch     TEXT,
    event      TEXT,
    url        TEXT,
    trust      INTEGER,                     -- 0 a fork, 1 a member, 2 a maintainer; absent: nobody told
    text       TEXT    NOT NULL,            -- last, so that a scan need not read over it
    UNIQUE (repository, digest)
) STRICT;
CREATE INDEX memories_delivery ON memories (delivery);
CREATE INDEX memories_recent_there ON memories (repository, created_at);
CREATE INDEX memories_recent ON memories (created_at);
CREATE INDEX memories_counted ON memories (kind, indexed);

CREATE VIRTUAL TABLE memories_fts USING fts5 (
    text, about, content = '', contentless_delete = 1, tokenize = 'porter unicode61'
);
-- Triggers keep the full text in the same transaction as the memory, whoever writes it. Nothing of a
-- memory is ever updated but its trust.
CREATE TRIGGER memories_inserted AFTER INSERT ON memories WHEN new.indexed BEGIN
    INSERT INTO memories_fts (rowid, text, about) VALUES (
        new.seq, new.text,
        concat_ws(' ', new.kind, new.agent, new.branch, new.event,
                  strftime('%Y-%m-%d', new.created_at / 1000000, 'unixepoch')));
END;
CREATE TRIGGER memories_deleted AFTER DELETE ON memories WHEN old.indexed BEGIN
    DELETE FROM memories_fts WHERE rowid = old.seq;
END;

CREATE TABLE vectors (
    memory_seq INTEGER NOT NULL REFERENCES memories (seq) ON DELETE CASCADE,
    model      TEXT    NOT NULL,
    dimensions INTEGER NOT NULL,
    vector     BLOB    NOT NULL,            -- f32, little endian, norm 1
    PRIMARY KEY (memory_seq, model)
) STRICT;

-- Memories that a model cannot embed, set aside so that they do not hold up the others.
CREATE TABLE rejections (
    memory_seq INTEGER NOT NULL REFERENCES memories (seq) ON DELETE CASCADE,
    model      TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    PRIMARY KEY (memory_seq, model)
) STRICT, WITHOUT ROWID;
