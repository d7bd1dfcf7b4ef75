-- Room: Limits. Budgets that were changed and whose rows have not all followed: a budget for each user can have very many,
-- and they are taken a piece at a time. `horizon` is noted once the change is committed: a transaction that began
-- after that. When all before it are over none makes a row of the budget of before any more, and the rows are gone through;
-- a minute after the change at the latest, because no transaction of the service lasts for so long, and those of others
-- on the same server may.
CREATE TABLE budget_change (
    tenant_id bigint NOT NULL,
    limit_id bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    horizon xid8,
    CONSTRAINT budget_change_pk PRIMARY KEY (tenant_id, limit_id),
    CONSTRAINT budget_change_budget_fk FOREIGN KEY (tenant_id, limit_id) REFERENCES budget (tenant_id, limit_id)
);

ALTER TABLE budget_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE budget_change FORCE ROW LEVEL SECURITY;
CREATE POLICY budget_change_service ON budget_change TO turnpike_service USING (true) WITH CHECK (true);
DO $$
BEGIN
    EXECUTE format('CREATE POLICY budget_change_owner ON budget_change TO %I USING (true) WITH CHECK (true)', current_user);
END
$$;
CREATE POLICY budget_change_tenant ON budget_change TO turnpike_tenant
    USING (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint)
    WITH CHECK (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint);

GRANT SELECT, INSERT, UPDATE, DELETE ON budget_change TO turnpike_service;
