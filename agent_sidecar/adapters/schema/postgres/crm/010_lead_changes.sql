-- Which leads changed since the graph was told of them, whoever changed them: the service, a call
-- that moved one on, or somebody's own SQL. A row is deleted once the graph has what it stands for.

CREATE SEQUENCE lead_change_numbers;

CREATE TABLE lead_changes (
    -- no foreign key: a lead that was deleted is a change as well
    lead_id uuid PRIMARY KEY,
    -- grows: a change that comes while an earlier one is being told is not forgotten with it
    number bigint NOT NULL DEFAULT nextval('lead_change_numbers')
);

CREATE INDEX idx_lead_changes_number ON lead_changes (number);

-- as its owner, so that whoever may change a lead needs no right to this table
CREATE FUNCTION note_lead_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO lead_changes (lead_id)
    VALUES (CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END)
    ON CONFLICT (lead_id) DO UPDATE SET number = excluded.number;
    RETURN NULL;
END
$$;

CREATE TRIGGER lead_made_or_deleted AFTER INSERT OR DELETE ON leads
FOR EACH ROW EXECUTE FUNCTION note_lead_change();

-- only what the graph holds of a lead
CREATE TRIGGER lead_changed AFTER UPDATE ON leads
FOR EACH ROW WHEN (
    (OLD.external_id, OLD.phone, OLD.status, OLD.current_income_range, OLD.experience_level,
        OLD.time_availability)
    IS DISTINCT FROM
    (NEW.external_id, NEW.phone, NEW.status, NEW.current_income_range, NEW.experience_level,
        NEW.time_availability)
) EXECUTE FUNCTION note_lead_change();
