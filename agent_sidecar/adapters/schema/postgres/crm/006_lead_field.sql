-- A lead's field by the name that a playbook gives it: leads have columns for some, others came
-- with the lead. One simple expression, which the planner puts in the place of the call.
CREATE FUNCTION lead_field(lead leads, name text) RETURNS text LANGUAGE sql STABLE AS $$
SELECT CASE name
    WHEN 'experience_level' THEN lead.experience_level
    WHEN 'current_income_range' THEN lead.current_income_range
    WHEN 'desired_income_range' THEN lead.desired_income_range
    WHEN 'time_availability' THEN lead.time_availability
    WHEN 'initial_interest' THEN lead.initial_interest
    WHEN 'source' THEN lead.source
    WHEN 'timezone' THEN lead.timezone
    WHEN 'country' THEN lead.country
    WHEN 'state' THEN lead.state
    WHEN 'city' THEN lead.city
    WHEN 'status' THEN lead.status
    ELSE lead.extra ->> name
END
$$;
