-- Room: Catalog. Each time that a subscription came to end later than it was to, or not at all: usage of `extended_from` or later that was
-- stored up to that place of the tenant's ledger counted in no limit of which the plan tells what counts. Extensions of before this are not known.
CREATE TABLE subscription_extension (
    tenant_id bigint NOT NULL,
    subscription_id uuid NOT NULL,
    extended_from timestamptz NOT NULL,
    counted_after_seq bigint NOT NULL,
    CONSTRAINT subscription_extension_pk PRIMARY KEY (tenant_id, subscription_id, extended_from, counted_after_seq),
    CONSTRAINT subscription_extension_subscription_fk FOREIGN KEY (tenant_id, subscription_id)
        REFERENCES subscription (tenant_id, subscription_id)
);

ALTER TABLE subscription_extension ENABLE ROW LEVEL SECURITY;
ALTER TABLE subscription_extension FORCE ROW LEVEL SECURITY;
CREATE POLICY subscription_extension_service ON subscription_extension TO turnpike_service USING (true) WITH CHECK (true);
DO $$
BEGIN
    EXECUTE format(
        'CREATE POLICY subscription_extension_owner ON subscription_extension TO %I USING (true) WITH CHECK (true)', current_user
    );
END
$$;
CREATE POLICY subscription_extension_tenant ON subscription_extension TO turnpike_tenant
    USING (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint)
    WITH CHECK (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint);

GRANT SELECT, INSERT ON subscription_extension TO turnpike_service;
