-- Schema 3. Times are microseconds since 1970, UTC.
--
-- Four tables are the record: `records`, `derivations`, `judgements` and `audit`. All others are made of them, by what
-- `write.rs`, `refined.rs` and `stale.rs` do with each in turn, and can be made again (`rebuild.rs`).

-- What was sent. Append-only; forgetting and taking back take the body, and leave the line so that its delivery does not
-- come again.
CREATE TABLE records (
    seq         INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL,           -- delivery id or idempotency key
    digest      BLOB    NOT NULL,           -- SHA-256 of the body
    received_at INTEGER NOT NULL,
    body        BLOB,                       -- zstd; NULL: forgotten
    UNIQUE (id, digest)
) STRICT;

-- What a model made of a memory's text.
CREATE TABLE derivations (
    memory_id      TEXT    PRIMARY KEY,
    kind           TEXT,
    text           TEXT,                    -- NULL: nothing that can be used
    reason         TEXT,                    -- why
    model          TEXT    NOT NULL,
    prompt_version TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- How a memory relates to an older one.
CREATE TABLE judgements (
    newer    TEXT    NOT NULL,
    older    TEXT    NOT NULL,
    relation INTEGER NOT NULL,              -- 0 different, 1 the same, 2 contradicts
    judge    TEXT    NOT NULL,              -- model and prompt version, or `rule`
    PRIMARY KEY (newer, older)
) STRICT, WITHOUT ROWID;
CREATE INDEX judgements_older ON judgements (older, relation);

-- What was forgotten, when, and on whose word; nothing of what it said.
CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    memory_id  TEXT    NOT NULL,
    delivery   TEXT    NOT NULL,
    repository TEXT    NOT NULL,
    who        TEXT    NOT NULL,
    reason     TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_memory ON audit (memory_id);

CREATE TABLE memories (
    -- Never used twice: the embedder remembers how far it has come.
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT    NOT NULL UNIQUE,
    version        INTEGER NOT NULL DEFAULT 1,
    delivery       TEXT    NOT NULL,        -- records.id
    repository     TEXT    NOT NULL COLLATE NOCASE,
    kind           TEXT    NOT NULL,
    indexed        INTEGER NOT NULL,        -- 0: kept, but no search finds it
    created_at     INTEGER NOT NULL,
    digest         BLOB    NOT NULL,        -- SHA-256 of kind and text as they were distilled
    agent          TEXT,
    author         TEXT,
    branch         TEXT,
    event          TEXT,
    url            TEXT,
    pull_request   INTEGER,
    trust          INTEGER,                 -- 0 a fork, 1 a member, 2 a maintainer; absent: nobody told. Of who said it first
    model          TEXT,
    prompt_version TEXT,
    thread         TEXT,                    -- what it tells the state of; the latest of a thread supersedes the others
    stale          INTEGER NOT NULL DEFAULT 0,  -- 1 changed, 2 thinned, 3 gone, 4 reverted
    stale_reason   TEXT,
    superseded_by  INTEGER,                 -- memories.seq
    superseded_at  INTEGER,                 -- when the other one was said
    merged_into    INTEGER,                 -- memories.seq
    refined        INTEGER NOT NULL DEFAULT 0,  -- 1: a model's turn is over, or was never to come
    compared       INTEGER NOT NULL DEFAULT 0,
    commits        TEXT    NOT NULL DEFAULT '[]',   -- JSON
    paths          TEXT    NOT NULL DEFAULT '[]',   -- JSON
    template       TEXT,                    -- the template's text, where a model has refined it
    text           TEXT    NOT NULL,        -- last, so that a scan need not read over it
    UNIQUE (repository, digest)
) STRICT;
CREATE INDEX memories_delivery ON memories (delivery);
CREATE INDEX memories_recent_there ON memories (repository, created_at);
CREATE INDEX memories_recent ON memories (created_at);
CREATE INDEX memories_counted ON memories (kind, indexed);
CREATE INDEX memories_there ON memories (repository, url) WHERE url IS NOT NULL;
CREATE INDEX memories_thread ON memories (repository, thread) WHERE thread IS NOT NULL;
CREATE INDEX memories_unrefined ON memories (seq) WHERE refined = 0;
CREATE INDEX memories_uncompared ON memories (seq) WHERE compared = 0;
CREATE INDEX memories_superseded ON memories (superseded_by) WHERE superseded_by IS NOT NULL;
CREATE INDEX memories_merged ON memories (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX memories_stale ON memories (stale) WHERE stale > 0;

-- Other deliveries that said the same.
CREATE TABLE confirmations (
    memory_seq INTEGER NOT NULL REFERENCES memories (seq) ON DELETE CASCADE,
    delivery   TEXT    NOT NULL,
    trust      INTEGER,                     -- as that of a memory
    PRIMARY KEY (memory_seq, delivery)
) STRICT, WITHOUT ROWID;
CREATE INDEX confirmations_delivery ON confirmations (delivery);

-- What memories speak of: files (`/` and the path) and commits (their first seven digits).
CREATE TABLE mentions (
    repository TEXT    NOT NULL COLLATE NOCASE,
    name       TEXT    NOT NULL,
    memory_seq INTEGER NOT NULL REFERENCES memories (seq) ON DELETE CASCADE,
    PRIMARY KEY (repository, name, memory_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX mentions_memory ON mentions (memory_seq);

-- What pushes to the default branch did to files and commits, by the same names.
CREATE TABLE touches (
    repository   TEXT    NOT NULL COLLATE NOCASE,
    name         TEXT    NOT NULL,
    subject      TEXT    NOT NULL,          -- the whole path, or the whole id
    what         INTEGER NOT NULL,          -- 1 changed, 2 removed, 3 taken back
    commit_id    TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    pull_request INTEGER,
    record       INTEGER NOT NULL,          -- records.seq of the first line of its delivery
    PRIMARY KEY (repository, name, what, commit_id, subject, record)
) STRICT, WITHOUT ROWID;
CREATE INDEX touches_record ON touches (record);
CREATE INDEX touches_reverted ON touches (repository, substr(commit_id, 1, 7)) WHERE what = 3;

-- Of words as words.rs makes them, so the tokenizer has nothing to do but to split at blanks. `place` is a word for the
-- repository, which keeps a search of one from looking at the others.
CREATE VIRTUAL TABLE memories_fts USING fts5 (
    text, about, place, content = '', contentless_delete = 1, tokenize = 'unicode61'
);
-- How many memories have a word.
CREATE VIRTUAL TABLE memories_words USING fts5vocab (memories_fts, row);
CREATE TRIGGER memories_deleted AFTER DELETE ON memories WHEN old.indexed BEGIN
    DELETE FROM memories_fts WHERE rowid = old.seq;
END;

CREATE TABLE vectors (
    id         INTEGER PRIMARY KEY,
    memory_seq INTEGER NOT NULL REFERENCES memories (seq) ON DELETE CASCADE,
    model      TEXT    NOT NULL,
    dimensions INTEGER NOT NULL,
    words      INTEGER NOT NULL,            -- the first eight bytes of the SHA-256 of the text that it is of
    cut        INTEGER NOT NULL,            -- 1: of its beginning alone
    vector     BLOB    NOT NULL,            -- f32, little endian, norm 1
    UNIQUE (memory_seq, model)
) STRICT;
CREATE INDEX vectors_cut ON vectors (model) WHERE cut;

-- Memories that a model cannot embed, set aside so that they do not hold up the others.
CREATE TABLE rejections (
    memory_seq INTEGER NOT NULL REFERENCES memories (seq) ON DELETE CASCADE,
    model      TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    PRIMARY KEY (memory_seq, model)
) STRICT, WITHOUT ROWID;
