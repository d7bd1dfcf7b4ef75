-- Room: Identity. Credentials, the audit log, and (room Web) the stored answers of idempotent requests.

CREATE TABLE api_key (
    tenant_id bigint NOT NULL,
    api_key_id text NOT NULL,
    name text NOT NULL,
    secret_hash bytea NOT NULL,
    scopes text[] NOT NULL,
    origin text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT api_key_pk PRIMARY KEY (tenant_id, api_key_id),
    CONSTRAINT api_key_secret_hash_length CHECK (octet_length(secret_hash) = 32),
    CONSTRAINT api_key_origin CHECK (origin IN ('api', 'environment'))
);
CREATE INDEX api_key_by_id ON api_key (api_key_id);

CREATE TABLE audit_log (
    tenant_id bigint NOT NULL,
    audit_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    credential_id text NOT NULL,
    request_id text NOT NULL,
    action text NOT NULL,
    resource_type text NOT NULL,
    resource_key text NOT NULL,
    before jsonb,
    after jsonb,
    CONSTRAINT audit_log_pk PRIMARY KEY (tenant_id, audit_id)
);
CREATE INDEX audit_log_by_time ON audit_log (occurred_at, audit_id);
CREATE INDEX audit_log_by_tenant_and_time ON audit_log (tenant_id, occurred_at, audit_id);

-- The key is kept as its SHA-256: an answer that bears a secret is encrypted, see ADR 0006.
CREATE TABLE idempotency_key (
    tenant_id bigint NOT NULL,
    credential_id text NOT NULL,
    operation text NOT NULL,
    key_hash bytea NOT NULL,
    request_hash bytea NOT NULL,
    status integer NOT NULL,
    content_type text NOT NULL,
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    encrypted boolean NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT idempotency_key_pk PRIMARY KEY (tenant_id, credential_id, operation, key_hash)
);
CREATE INDEX idempotency_key_by_age ON idempotency_key (created_at);

GRANT SELECT, INSERT, UPDATE ON api_key TO turnpike_service;
GRANT SELECT, INSERT ON audit_log TO turnpike_service;
GRANT SELECT, INSERT, DELETE ON idempotency_key TO turnpike_service;
GRANT SELECT ON api_key, audit_log TO turnpike_tenant;
