-- What the daily metrics are made of beside what the tables had, and their score to the digit.

-- Hints that were used, predicted a side (better or worse than the moment's base rate) and got a
-- reaction; and those whose side it was. Calls from before keep 0: their hints lack the base rate.
ALTER TABLE calls
    ADD COLUMN hints_judged integer NOT NULL DEFAULT 0 CHECK (hints_judged >= 0),
    ADD COLUMN hints_came_true integer NOT NULL DEFAULT 0
        CHECK (hints_came_true BETWEEN 0 AND hints_judged);

ALTER TABLE learning_metrics
    -- The row stays as it is, whatever calls of the day are there: somebody who removes calls
    -- because of their age closes their days first. Only its score goes on being computed.
    ADD COLUMN closed boolean NOT NULL DEFAULT false,
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();

-- One division instead of three: a mean that was rounded before could turn a last digit.
CREATE OR REPLACE FUNCTION calculate_beast_mode_score(score_date date) RETURNS numeric(5, 2)
LANGUAGE sql STABLE AS $$
    WITH baseline AS (
        SELECT sum(first_days.qualified_rate) AS rates, count(*) AS days
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
        WHEN today.qualified_rate IS NULL OR baseline.rates IS NULL OR baseline.rates = 0 THEN NULL
        ELSE least(round(5 * today.qualified_rate * baseline.days / baseline.rates, 2), 10.0)
    END
    FROM learning_metrics AS today CROSS JOIN baseline
    WHERE today.metric_date = score_date
$$;
