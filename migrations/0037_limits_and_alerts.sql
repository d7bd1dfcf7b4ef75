-- Room: Limits. Reading one tenant's rows of a limit, and writing one of them, these indexes were taken where the tables had not been
-- analysed, which read the rows of every tenant that the limit is in force for. With all of the key they are as good as the key.
DROP INDEX limit_state_by_limit;
CREATE INDEX limit_state_by_limit ON limit_state (limit_id, window_start, tenant_id, scope_value);
DROP INDEX rate_state_by_limit;
CREATE INDEX rate_state_by_limit ON rate_state (limit_id, tenant_id, scope_value);

-- A tenant's rows of a limit by window, so that its windows of before need not be read.
ALTER TABLE limit_state DROP CONSTRAINT limit_state_pk;
ALTER TABLE limit_state ADD CONSTRAINT limit_state_pk PRIMARY KEY (tenant_id, limit_id, window_start, scope_value);

-- Windows that ended long ago are removed, and rates that nobody has used for a while.
GRANT DELETE ON limit_state, rate_state TO turnpike_service;

-- What budgets on the charges of each plan held was worked out without what they hold; from now on it is added call by call.
UPDATE limit_state
SET held = 0
FROM budget
WHERE budget.limit_id = limit_state.limit_id AND budget.measure = 'charge' AND budget.scope ->> 'plan' = '*'
    AND limit_state.scope_value <> '' AND limit_state.scope_value NOT LIKE '#%';

-- Room: Limits. A tenant acknowledges its alerts for itself, and the operator for itself.
ALTER TABLE alert
    ADD COLUMN tenant_acknowledged_at timestamptz,
    ADD COLUMN tenant_acknowledged_by text,
    ADD COLUMN tenant_note text,
    ADD CONSTRAINT alert_acknowledged_by_tenant CHECK (
        (tenant_acknowledged_at IS NULL) = (tenant_acknowledged_by IS NULL)
        AND (tenant_note IS NULL OR tenant_acknowledged_at IS NOT NULL)
    );
UPDATE alert
SET tenant_acknowledged_at = acknowledged_at, tenant_acknowledged_by = acknowledged_by, tenant_note = note
WHERE acknowledged_at IS NOT NULL AND tenant_id <> 0;
GRANT UPDATE (tenant_acknowledged_at, tenant_acknowledged_by, tenant_note) ON alert TO turnpike_service;
