-- Room: Limits. Alerts of transactions that raise very many for one tenant: they wait here, and are raised a piece at a
-- time, so that who shares the transaction, or waits for its locks, does not wait for them. The columns are those of
-- `alert`.
CREATE TABLE alert_waiting (
    tenant_id bigint NOT NULL,
    alert_id uuid NOT NULL,
    alert_key text NOT NULL,
    kind text NOT NULL,
    about_tenant_id bigint,
    tenant_key text,
    raised_at timestamptz NOT NULL,
    limit_id bigint,
    scope_value text,
    window_start timestamptz,
    window_end timestamptz,
    threshold numeric(38,12),
    detail jsonb NOT NULL,
    CONSTRAINT alert_waiting_pk PRIMARY KEY (alert_id, tenant_id)
);

ALTER TABLE alert_waiting ENABLE ROW LEVEL SECURITY;
ALTER TABLE alert_waiting FORCE ROW LEVEL SECURITY;
CREATE POLICY alert_waiting_service ON alert_waiting TO turnpike_service USING (true) WITH CHECK (true);
DO $$
BEGIN
    EXECUTE format('CREATE POLICY alert_waiting_owner ON alert_waiting TO %I USING (true) WITH CHECK (true)', current_user);
END
$$;
CREATE POLICY alert_waiting_tenant ON alert_waiting TO turnpike_tenant
    USING (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint)
    WITH CHECK (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint);

GRANT SELECT, INSERT, UPDATE, DELETE ON alert_waiting TO turnpike_service;
