-- What was learnt, day by day.

CREATE TABLE learning_metrics (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    metric_date date NOT NULL UNIQUE,
    -- answered ones
    total_calls integer NOT NULL DEFAULT 0 CHECK (total_calls >= 0),
    -- percent
    qualified_rate numeric(5, 2) CHECK (qualified_rate BETWEEN 0 AND 100),
    -- 0 to 100
    avg_engagement_score numeric(5, 2) CHECK (avg_engagement_score BETWEEN 0 AND 100),
    -- percent
    transfer_success_rate numeric(5, 2) CHECK (transfer_success_rate BETWEEN 0 AND 100),
    -- percent of the hints used whose predicted side came true
    pattern_recognition_accuracy numeric(5, 2)
        CHECK (pattern_recognition_accuracy BETWEEN 0 AND 100),
    -- 0 to 10; null without a baseline
    beast_mode_score numeric(5, 2) CHECK (beast_mode_score BETWEEN 0 AND 10),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_metrics_date ON learning_metrics (metric_date DESC);

-- 5: as good as the baseline; 10: twice as good or better; null: nothing to compare. The baseline
-- is the mean rate of the first thirty days with calls, because a single day says little.
CREATE FUNCTION calculate_beast_mode_score(score_date date) RETURNS numeric(5, 2)
LANGUAGE sql STABLE AS $$
    WITH baseline AS (
        SELECT avg(first_days.qualified_rate) AS rate
        FROM (
            SELECT m.qualified_rate
            FROM learning_metrics AS m
            WHERE m.total_calls > 0 AND m.qualified_rate IS NOT NULL
            ORDER BY m.metric_date
            LIMIT 30
        ) AS first_days
    )
    -- LEAST ignores nulls, so it must not see one
    SELECT CASE
        WHEN today.qualified_rate IS NULL OR baseline.rate IS NULL OR baseline.rate = 0 THEN NULL
        ELSE least(today.qualified_rate / baseline.rate * 5, 10.0)::numeric(5, 2)
    END
    FROM learning_metrics AS today CROSS JOIN baseline
    WHERE today.metric_date = score_date
$$;
