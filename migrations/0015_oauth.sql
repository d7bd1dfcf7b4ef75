-- Room: Identity. OAuth clients, the keys that sign their tokens, and what takes a token or an assertion back.

-- Who may get tokens, for what. One secret at a time, and the one before it until its overlap ends.
CREATE TABLE oauth_client (
    tenant_id bigint NOT NULL,
    client_id text NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    models text[],
    features text[],
    data_classes text[],
    cost_center text,
    token_endpoint_auth_method text NOT NULL,
    jwks jsonb,
    secret_hash bytea,
    previous_secret_hash bytea,
    previous_secret_expires_at timestamptz,
    enabled boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revision bigint NOT NULL,
    CONSTRAINT oauth_client_pk PRIMARY KEY (tenant_id, client_id),
    CONSTRAINT oauth_client_credential CHECK (
        CASE token_endpoint_auth_method
            WHEN 'client_secret_basic' THEN jwks IS NULL AND octet_length(secret_hash) = 32
            WHEN 'client_secret_post' THEN jwks IS NULL AND octet_length(secret_hash) = 32
            WHEN 'private_key_jwt' THEN jwks IS NOT NULL AND secret_hash IS NULL AND previous_secret_hash IS NULL
            ELSE false
        END
    ),
    CONSTRAINT oauth_client_previous_secret CHECK (
        (previous_secret_hash IS NULL) = (previous_secret_expires_at IS NULL)
        AND (previous_secret_hash IS NULL OR octet_length(previous_secret_hash) = 32)
    )
);
CREATE INDEX oauth_client_by_id ON oauth_client (client_id);

-- The private key is encrypted under TURNPIKE_MASTER_KEY. All rows belong to the operator.
CREATE TABLE signing_key (
    tenant_id bigint NOT NULL,
    key_id text NOT NULL,
    algorithm text NOT NULL,
    public_jwk jsonb NOT NULL,
    sealed_private_key bytea NOT NULL,
    created_at timestamptz NOT NULL,
    signs_from timestamptz NOT NULL,
    CONSTRAINT signing_key_pk PRIMARY KEY (tenant_id, key_id),
    CONSTRAINT signing_key_algorithm CHECK (algorithm IN ('ES256', 'RS256')),
    CONSTRAINT signing_key_published_first CHECK (signs_from >= created_at)
);

-- Tokens that were taken back, until they would have expired anyway.
CREATE TABLE revoked_token (
    tenant_id bigint NOT NULL,
    token_id uuid NOT NULL,
    revoked_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT revoked_token_pk PRIMARY KEY (tenant_id, token_id)
);
CREATE INDEX revoked_token_by_expiry ON revoked_token (expires_at);

-- Assertions by which clients have authenticated: each works once. The `jti` is kept as its SHA-256.
CREATE TABLE client_assertion (
    tenant_id bigint NOT NULL,
    client_id text NOT NULL,
    assertion_hash bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT client_assertion_pk PRIMARY KEY (tenant_id, client_id, assertion_hash)
);
CREATE INDEX client_assertion_by_expiry ON client_assertion (expires_at);

GRANT SELECT, INSERT, UPDATE ON oauth_client TO turnpike_service;
GRANT SELECT, INSERT, DELETE ON signing_key, revoked_token, client_assertion TO turnpike_service;
GRANT SELECT (
    tenant_id, client_id, name, scopes, models, features, data_classes, cost_center, token_endpoint_auth_method, jwks,
    previous_secret_expires_at, enabled, created_at, updated_at, revoked_at, revision
) ON oauth_client TO turnpike_tenant;

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['oauth_client', 'signing_key', 'revoked_token', 'client_assertion'] LOOP
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
    END LOOP;
END
$$;
