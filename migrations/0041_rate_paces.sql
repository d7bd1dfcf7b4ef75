-- Room: Limits. At which pace the arrival time of a rate is told: the microseconds of one unit. Where the pace in force is
-- another, what is used is as many units as before. Null in rows of the release before.
ALTER TABLE rate_state ADD COLUMN unit_interval numeric(38,12);
UPDATE rate_state
SET unit_interval = 0.000000000001 * div(
    1000000000000000000 * CASE budget.rate_period
        WHEN 'second' THEN 1 WHEN 'minute' THEN 60 WHEN 'hour' THEN 3600 WHEN 'day' THEN 86400
    END::numeric + budget.rate_limit - 1,
    budget.rate_limit
)
FROM budget
WHERE budget.limit_id = rate_state.limit_id;
ALTER TABLE rate_state ADD CONSTRAINT rate_state_unit_interval CHECK (unit_interval > 0);
