-- Room: Catalog. A budget is a bound on a measure within a scope: an amount in each window, or a rate. It belongs to the
-- tenant that its scope names exactly, otherwise to tenant 0. Its id comes from the sequence of the quotas' ids, so that
-- both count in limit_state.
CREATE TABLE budget (
    tenant_id bigint NOT NULL,
    limit_id bigint NOT NULL,
    key text NOT NULL,
    scope jsonb NOT NULL,
    measure text NOT NULL,
    amount numeric(38,12),
    currency text,
    window_kind text,
    mode text,
    rate_limit bigint,
    rate_period text,
    rate_burst bigint,
    rate_sheddable_percent integer,
    rate_default_percent integer,
    thresholds numeric(38,12)[] NOT NULL,
    alerts_on_forecast boolean NOT NULL,
    failure_policy text NOT NULL,
    fallback_unit_amount numeric(38,12),
    managed_by text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    archived_at timestamptz,
    revision bigint NOT NULL,
    CONSTRAINT budget_pk PRIMARY KEY (tenant_id, limit_id),
    CONSTRAINT budget_key_unique UNIQUE (tenant_id, key),
    CONSTRAINT budget_measure CHECK (measure IN ('units', 'charge', 'cost', 'requests', 'tokens')),
    CONSTRAINT budget_bound CHECK (
        num_nulls(amount, window_kind, mode) = 0
            AND num_nonnulls(rate_limit, rate_period, rate_burst, rate_sheddable_percent, rate_default_percent) = 0
        OR num_nonnulls(amount, window_kind, mode, currency) = 0
            AND num_nulls(rate_limit, rate_period, rate_burst, rate_sheddable_percent, rate_default_percent) = 0
    ),
    CONSTRAINT budget_amount CHECK (amount >= 0),
    CONSTRAINT budget_currency CHECK (measure IN ('charge', 'cost') = (currency IS NOT NULL)),
    CONSTRAINT budget_window CHECK (
        window_kind IN ('minute', 'hour', 'day', 'week', 'month', 'billing_period', 'lifetime')
    ),
    CONSTRAINT budget_mode CHECK (mode IN ('hard', 'soft')),
    CONSTRAINT budget_rate CHECK (rate_limit > 0 AND rate_burst > 0),
    CONSTRAINT budget_rate_period CHECK (rate_period IN ('second', 'minute', 'hour', 'day')),
    CONSTRAINT budget_failure_policy CHECK (failure_policy IN ('closed', 'open')),
    CONSTRAINT budget_managed_by CHECK (managed_by IN ('operator', 'tenant'))
);

-- Budgets by key over all tenants, in the order of lists and of the operator's look-up.
CREATE INDEX budget_keys ON budget (key, tenant_id);

ALTER TABLE budget ENABLE ROW LEVEL SECURITY;
ALTER TABLE budget FORCE ROW LEVEL SECURITY;
CREATE POLICY budget_service ON budget TO turnpike_service USING (true) WITH CHECK (true);
DO $$
BEGIN
    EXECUTE format('CREATE POLICY budget_owner ON budget TO %I USING (true) WITH CHECK (true)', current_user);
END
$$;
CREATE POLICY budget_tenant ON budget TO turnpike_tenant
    USING (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint)
    WITH CHECK (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint);

GRANT SELECT, INSERT, UPDATE ON budget TO turnpike_service;
GRANT SELECT ON budget TO turnpike_tenant;

-- A state row belongs to a quota or to a budget; the budget's own row may be of another tenant (tenant 0).
ALTER TABLE limit_state DROP CONSTRAINT limit_state_limit_fk;

-- The current windows of a limit that has rows in many tenants or for many values.
CREATE INDEX limit_state_by_limit ON limit_state (limit_id, window_start);
