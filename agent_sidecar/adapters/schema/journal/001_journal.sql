-- The journal of one sidecar process. Times are microseconds since 1970, UTC.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Webhooks as they came, for one day: a repeated one is known by its id.
CREATE TABLE inbox (
    event_id TEXT PRIMARY KEY,
    event_type TEXT NOT NULL,
    leg_id TEXT,
    received_at INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX inbox_received_at ON inbox (received_at);

-- What happened to calls that have no record yet, in order; JSON {"kind", "body"}.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    call_id TEXT NOT NULL,
    event BLOB NOT NULL
);
CREATE INDEX event_call_id ON event (call_id);

-- Finished calls; a corrected one replaces the former with the next version. JSON.
CREATE TABLE record (
    seq INTEGER PRIMARY KEY,
    call_id TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    source TEXT NOT NULL,
    external_id TEXT,
    committed_at INTEGER NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX record_external_id ON record (external_id) WHERE source = 'import';

-- One row per record and store.
CREATE TABLE delivery (
    call_id TEXT NOT NULL REFERENCES record (call_id),
    store TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'parked')),
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try_at INTEGER CHECK ((next_try_at IS NOT NULL) = (state = 'pending')),
    delivered_at INTEGER,
    last_error TEXT,
    PRIMARY KEY (call_id, store)
) WITHOUT ROWID;
CREATE INDEX delivery_due ON delivery (store, state, next_try_at);
