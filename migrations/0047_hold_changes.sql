-- Room: Catalog. Tenants whose plan, and with tenant 0 that prices or exchange rates, were changed, and whose open calls may
-- hold less than they can come to cost by now. They are gone through at once, and again when all transactions are over that may
-- have admitted by what was before: `horizon` is noted once the change is committed, see `budget_change`. Whoever is at it has
-- moved `due_at`.
CREATE TABLE hold_change (
    tenant_id bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    is_begun boolean NOT NULL,
    horizon xid8,
    CONSTRAINT hold_change_pk PRIMARY KEY (tenant_id)
);

ALTER TABLE hold_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE hold_change FORCE ROW LEVEL SECURITY;
CREATE POLICY hold_change_service ON hold_change TO turnpike_service USING (true) WITH CHECK (true);
DO $$
BEGIN
    EXECUTE format('CREATE POLICY hold_change_owner ON hold_change TO %I USING (true) WITH CHECK (true)', current_user);
END
$$;
CREATE POLICY hold_change_tenant ON hold_change TO turnpike_tenant
    USING (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint)
    WITH CHECK (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint);

GRANT SELECT, INSERT, UPDATE, DELETE ON hold_change TO turnpike_service;
