-- Who may take over a call and when, and who may use the system.

CREATE TABLE closers (
    name text PRIMARY KEY,
    -- E.164; null: a setting gives it
    number text,
    -- IANA name
    timezone text NOT NULL DEFAULT 'America/New_York',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- A row is either a weekly window or an override of them. A window whose end is not after its start
-- ends the next day. A closer who may be called at any time has seven windows of a whole day.
CREATE TABLE kevin_availability (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    closer text NOT NULL DEFAULT 'Kevin' REFERENCES closers (name) ON DELETE CASCADE,
    -- 0 = Sunday
    day_of_week integer CHECK (day_of_week BETWEEN 0 AND 6),
    start_time time,
    end_time time,
    timezone text NOT NULL DEFAULT 'America/New_York',
    override_start timestamptz,
    override_end timestamptz,
    -- what an override says; a window is always true
    is_available boolean NOT NULL DEFAULT true,
    -- a row that is switched off counts as deleted
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (
        (num_nulls(day_of_week, start_time, end_time) = 0
            AND num_nonnulls(override_start, override_end) = 0 AND is_available)
        OR (num_nonnulls(day_of_week, start_time, end_time) = 0
            AND num_nulls(override_start, override_end) = 0 AND override_start < override_end)
    )
);

CREATE INDEX idx_kevin_availability_time ON kevin_availability (day_of_week, start_time, end_time);
CREATE INDEX idx_kevin_availability_closer ON kevin_availability (closer);

CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    name text NOT NULL,
    role text NOT NULL DEFAULT 'operator',
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);
