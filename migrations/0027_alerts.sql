-- Room: Limits. What somebody should know of, told once: one row for each alert_key of a tenant. What only operators may
-- see (what providers charge) belongs to tenant 0, and about_tenant_id says whom it is about, so that row-level security
-- keeps it from the tenant.
CREATE TABLE alert (
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
    -- In percent of the limit.
    threshold numeric(38,12),
    detail jsonb NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text,
    note text,
    CONSTRAINT alert_pk PRIMARY KEY (tenant_id, alert_id),
    CONSTRAINT alert_once UNIQUE (tenant_id, alert_key),
    CONSTRAINT alert_about CHECK (about_tenant_id IS NULL OR tenant_id = 0),
    CONSTRAINT alert_window CHECK ((window_start IS NULL) = (window_end IS NULL)),
    CONSTRAINT alert_acknowledged CHECK (
        (acknowledged_at IS NULL) = (acknowledged_by IS NULL) AND (note IS NULL OR acknowledged_at IS NOT NULL)
    )
);
-- Alerts of all tenants, newest first; those nobody has acknowledged are few.
CREATE INDEX alert_by_id ON alert (alert_id);
CREATE INDEX alert_open ON alert (alert_id) WHERE acknowledged_at IS NULL;
CREATE INDEX alert_about_tenant ON alert (about_tenant_id, alert_id) WHERE about_tenant_id IS NOT NULL;

GRANT SELECT, INSERT, UPDATE (acknowledged_at, acknowledged_by, note) ON alert TO turnpike_service;
GRANT SELECT ON alert TO turnpike_tenant;

DO $$
DECLARE
    owned text := 'alert';
BEGIN
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', owned);
    EXECUTE format('CREATE POLICY %I ON %I TO turnpike_service USING (true) WITH CHECK (true)',
        owned || '_service', owned);
    EXECUTE format('CREATE POLICY %I ON %I TO %I USING (true) WITH CHECK (true)',
        owned || '_owner', owned, current_user);
    EXECUTE format('CREATE POLICY %I ON %I TO turnpike_tenant '
        'USING (tenant_id = nullif(current_setting(''turnpike.tenant_id'', true), '''')::bigint) '
        'WITH CHECK (tenant_id = nullif(current_setting(''turnpike.tenant_id'', true), '''')::bigint)',
        owned || '_tenant', owned);
END
$$;
