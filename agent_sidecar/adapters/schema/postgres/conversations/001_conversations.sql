-- Whole conversations, where no MongoDB is set: the same documents, as BSON, and what is searched.

CREATE TABLE conversations (
    -- the call_id
    id text PRIMARY KEY,
    lead_id text,
    started_at timestamptz NOT NULL,
    outcome text NOT NULL,
    score double precision,
    doc bytea NOT NULL,
    search tsvector NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_conversations_lead ON conversations (lead_id, started_at DESC);
CREATE INDEX idx_conversations_started_at ON conversations (started_at DESC);
CREATE INDEX idx_conversations_outcome ON conversations (outcome);
CREATE INDEX idx_conversations_score ON conversations (score DESC);
CREATE INDEX idx_conversations_search ON conversations USING gin (search);
