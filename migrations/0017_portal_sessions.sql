-- Room: Identity. Short-lived tokens for a tenant's own people. A session that is over is deleted by a worker; what it
-- was stays in the audit log.
CREATE TABLE portal_session (
    tenant_id bigint NOT NULL,
    portal_session_id text NOT NULL,
    secret_hash bytea NOT NULL,
    scopes text[] NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CONSTRAINT portal_session_pk PRIMARY KEY (tenant_id, portal_session_id),
    CONSTRAINT portal_session_secret_hash_length CHECK (octet_length(secret_hash) = 32)
);
CREATE INDEX portal_session_by_id ON portal_session (portal_session_id);
CREATE INDEX portal_session_by_expiry ON portal_session (expires_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON portal_session TO turnpike_service;
GRANT SELECT (
    tenant_id, portal_session_id, scopes, created_by, created_at, expires_at, revoked_at
) ON portal_session TO turnpike_tenant;

ALTER TABLE portal_session ENABLE ROW LEVEL SECURITY;
ALTER TABLE portal_session FORCE ROW LEVEL SECURITY;
CREATE POLICY portal_session_service ON portal_session TO turnpike_service USING (true) WITH CHECK (true);
DO $$
BEGIN
    EXECUTE format('CREATE POLICY portal_session_owner ON portal_session TO %I USING (true) WITH CHECK (true)',
        current_user);
END
$$;
CREATE POLICY portal_session_tenant ON portal_session TO turnpike_tenant
    USING (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint)
    WITH CHECK (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint);

-- Room: Usage. The credential that an event came by. The cost centre of one that has its own stands in `cost_center`; an
-- event whose subject named nobody keeps it apart, because what was sent decides whether it is a repetition.
ALTER TABLE usage_event ADD COLUMN client_id text;
ALTER TABLE unmatched_event
    ADD COLUMN client_id text,
    ADD COLUMN attributed_cost_center text;
