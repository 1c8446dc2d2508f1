-- A delivery may be dropped by a person; a record that every store has may be pruned.

CREATE TABLE delivery_2 (
    call_id TEXT NOT NULL REFERENCES record (call_id),
    store TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'parked', 'dropped')),
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try_at INTEGER CHECK ((next_try_at IS NOT NULL) = (state = 'pending')),
    delivered_at INTEGER,
    last_error TEXT,
    -- who gave it up, when and why
    dropped_at INTEGER CHECK ((dropped_at IS NOT NULL) = (state = 'dropped')),
    dropped_by TEXT CHECK ((dropped_by IS NOT NULL) = (state = 'dropped')),
    dropped_why TEXT,
    PRIMARY KEY (call_id, store)
) WITHOUT ROWID;
INSERT INTO delivery_2 (call_id, store, version, state, attempts, next_try_at, delivered_at,
    last_error)
SELECT call_id, store, version, state, attempts, next_try_at, delivered_at, last_error
FROM delivery;
DROP TABLE delivery;
ALTER TABLE delivery_2 RENAME TO delivery;
CREATE INDEX delivery_due ON delivery (store, state, next_try_at);

-- What is left of a record that was pruned: its next version goes on from here, and an import
-- knows it again. The call itself is in the conversation store.
CREATE TABLE pruned (
    call_id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    source TEXT NOT NULL,
    external_id TEXT,
    committed_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX pruned_external_id ON pruned (external_id) WHERE source = 'import';
