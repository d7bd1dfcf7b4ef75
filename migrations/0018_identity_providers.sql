-- Room: Identity. Issuers of other people's tokens that are believed here. All rows belong to the operator.
CREATE TABLE identity_provider (
    tenant_id bigint NOT NULL,
    provider_key text NOT NULL,
    issuer text NOT NULL,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT identity_provider_pk PRIMARY KEY (tenant_id, provider_key),
    CONSTRAINT identity_provider_issuer UNIQUE (tenant_id, issuer)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON identity_provider TO turnpike_service;

ALTER TABLE identity_provider ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity_provider FORCE ROW LEVEL SECURITY;
CREATE POLICY identity_provider_service ON identity_provider TO turnpike_service USING (true) WITH CHECK (true);
DO $$
BEGIN
    EXECUTE format('CREATE POLICY identity_provider_owner ON identity_provider TO %I USING (true) WITH CHECK (true)',
        current_user);
END
$$;
CREATE POLICY identity_provider_tenant ON identity_provider TO turnpike_tenant
    USING (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint)
    WITH CHECK (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint);
