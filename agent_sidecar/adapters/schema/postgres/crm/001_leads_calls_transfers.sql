-- Leads, their calls, and the transfers of calls to a closer.
-- Texts have no length limits: a call must never be refused because a name is long.

CREATE TABLE leads (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    -- all three may be unknown; each names one lead where it is known
    external_id text UNIQUE,
    -- E.164
    phone text UNIQUE CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),
    -- lower case
    email text UNIQUE,
    first_name text,
    last_name text,
    source text,
    initial_interest text,
    qualification_score integer NOT NULL DEFAULT 0 CHECK (qualification_score BETWEEN 0 AND 100),
    -- IANA name
    timezone text,
    country text,
    state text,
    city text,
    status text NOT NULL DEFAULT 'new' CHECK (status IN (
        'new', 'contacted', 'qualified', 'hot_transfer', 'video_sent', 'zoom_scheduled', 'closed',
        'disqualified')),
    current_income_range text,
    desired_income_range text,
    time_availability text,
    experience_level text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    last_contacted timestamptz,
    next_followup timestamptz,
    kevin_notes text,
    kevin_rating integer CHECK (kevin_rating BETWEEN 1 AND 10),
    relationship_strength text NOT NULL DEFAULT 'new'
        CHECK (relationship_strength IN ('new', 'developing', 'strong')),
    -- what came with the lead and has no column
    extra jsonb NOT NULL DEFAULT '{}',
    -- The status a person gave, and when. A status that is neither this nor `calls_status` was
    -- written by somebody else's SQL, and is taken for a person's.
    set_status text,
    set_status_at timestamptz,
    -- the status after the last call that was counted
    calls_status text
);

CREATE INDEX idx_leads_status ON leads (status);
CREATE INDEX idx_leads_qualification_score ON leads (qualification_score DESC);
CREATE INDEX idx_leads_updated_at ON leads (updated_at DESC);

CREATE TABLE calls (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    call_id text NOT NULL UNIQUE,
    lead_id uuid REFERENCES leads (id),
    source text NOT NULL DEFAULT 'live' CHECK (source IN ('live', 'import', 'replay', 'demo')),
    -- the id in the file of a replayed or imported call
    external_id text,
    start_time timestamptz NOT NULL,
    answered_at timestamptz,
    end_time timestamptz,
    -- seconds
    duration integer CHECK (duration >= 0),
    telnyx_call_control_id text,
    telnyx_leg_id text,
    telnyx_session_id text,
    recording_url text,
    -- the highest phase, under the names of both versions of the schema
    phases_completed integer NOT NULL DEFAULT 0 CHECK (phases_completed BETWEEN 0 AND 12),
    phase_reached integer CHECK (phase_reached BETWEEN 0 AND 12),
    final_status text CHECK (final_status IN (
        'hot_transfer', 'video_sent', 'follow_up', 'disqualified', 'no_answer', 'abandoned',
        'unknown')),
    outcome text CHECK (outcome IN (
        'transferred', 'qualified', 'callback', 'not_qualified', 'no_answer')),
    -- null: not counted (yet)
    qualified boolean,
    -- a meeting was booked, and what time was agreed for the next contact
    booked boolean NOT NULL DEFAULT false,
    next_followup timestamptz,
    engagement_score numeric(5, 2) CHECK (engagement_score BETWEEN 0 AND 100),
    transfer_attempted boolean NOT NULL DEFAULT false,
    transfer_successful boolean NOT NULL DEFAULT false,
    kevin_available boolean NOT NULL,
    -- `_id` of the document in the conversation store
    conversation_mongodb_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_calls_lead_id ON calls (lead_id);
CREATE INDEX idx_calls_start_time ON calls (start_time DESC);
CREATE INDEX idx_calls_engagement ON calls (engagement_score DESC);
CREATE INDEX idx_calls_external_id ON calls (external_id);

CREATE TABLE transfers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    transfer_id text NOT NULL UNIQUE,
    call_id uuid NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    lead_id uuid REFERENCES leads (id),
    closer text NOT NULL,
    initiated_at timestamptz NOT NULL,
    answered_at timestamptz,
    bridged_at timestamptz,
    -- hangup of the closer's leg
    completed_at timestamptz,
    -- seconds with the closer
    duration integer CHECK (duration >= 0),
    transfer_accepted boolean,
    outcome_type text NOT NULL,
    outcome_reason text NOT NULL DEFAULT '',
    engagement_score_at_transfer numeric(5, 2)
        CHECK (engagement_score_at_transfer BETWEEN 0 AND 100),
    conversation_phase integer CHECK (conversation_phase BETWEEN 0 AND 12),
    -- what triggered it
    key_indicators text[] NOT NULL DEFAULT '{}',
    -- said by a person afterwards, never by a record
    kevin_rating integer CHECK (kevin_rating BETWEEN 1 AND 10),
    conversion_result text
        CHECK (conversion_result IN ('scheduled', 'closed', 'followup', 'declined')),
    notes text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_transfers_call_id ON transfers (call_id);
CREATE INDEX idx_transfers_lead_id ON transfers (lead_id);
CREATE INDEX idx_transfers_success_rate ON transfers (transfer_accepted, conversion_result);
