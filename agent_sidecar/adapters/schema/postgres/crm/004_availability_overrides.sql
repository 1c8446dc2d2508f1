-- What overrides say to people, and how processes tell a newer schedule from an older one.

ALTER TABLE kevin_availability ADD COLUMN reason text NOT NULL DEFAULT '';

-- an override that ends at 'infinity' holds until it is taken back
CREATE INDEX idx_kevin_availability_overrides ON kevin_availability (closer, override_end)
WHERE override_start IS NOT NULL AND is_active;

-- grows with each change of a closer's number, hours or overrides
ALTER TABLE closers ADD COLUMN revision bigint NOT NULL DEFAULT 0;
