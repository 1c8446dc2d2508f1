-- Calls that leave the stores. An archived one may come back by an import; an erased one never:
-- its row stays, so that nothing that comes later brings it back.
CREATE TABLE forgetting (
    call_id TEXT PRIMARY KEY,
    reason TEXT NOT NULL CHECK (reason IN ('archived', 'erased')),
    marked_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Stores that still have to forget one.
CREATE TABLE forgetting_store (
    store TEXT NOT NULL,
    call_id TEXT NOT NULL REFERENCES forgetting (call_id) ON DELETE CASCADE,
    PRIMARY KEY (store, call_id)
) WITHOUT ROWID;
CREATE INDEX forgetting_store_call_id ON forgetting_store (call_id);

-- Leads that are being erased. Who it is is known only until he is gone; JSON.
CREATE TABLE erasure (
    id TEXT PRIMARY KEY,
    asked_at INTEGER NOT NULL,
    person BLOB NOT NULL,
    -- what names his legs and him in webhooks; JSON
    traces BLOB NOT NULL,
    -- what was removed so far, by place; JSON
    removed BLOB NOT NULL
) WITHOUT ROWID;
