-- When a closer said what came of a transfer; null: he has not, or somebody's own SQL did.

ALTER TABLE transfers ADD COLUMN result_at timestamptz;

ALTER TABLE transfers DROP CONSTRAINT transfers_conversion_result_check;
ALTER TABLE transfers ADD CONSTRAINT transfers_conversion_result_check CHECK (
    conversion_result IN ('scheduled', 'closed', 'followup', 'declined', 'no_show'));
