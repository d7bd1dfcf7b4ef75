-- Room: Webhooks. What happened and may be told to somebody, written in the transaction in which it happened. A worker
-- makes deliveries of it. `data` is json and not jsonb: it is sent as it was written.
CREATE TABLE webhook_event (
    tenant_id bigint NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    occurred_at timestamptz NOT NULL,
    operator_only boolean NOT NULL,
    data json NOT NULL,
    fanned_out_at timestamptz,
    CONSTRAINT webhook_event_pk PRIMARY KEY (tenant_id, event_id)
);
CREATE INDEX webhook_event_waiting ON webhook_event (event_id) WHERE fanned_out_at IS NULL;
CREATE INDEX webhook_event_by_fan_out ON webhook_event (fanned_out_at) WHERE fanned_out_at IS NOT NULL;

-- Where events are told. Those of tenant 0 are the operator's and get the events of all tenants. Secrets are encrypted
-- under TURNPIKE_MASTER_KEY; one at a time, and the one before it until its overlap ends.
CREATE TABLE webhook_endpoint (
    tenant_id bigint NOT NULL,
    endpoint_key text NOT NULL,
    kind text NOT NULL,
    url text NOT NULL,
    description text NOT NULL,
    events text[] NOT NULL,
    enabled boolean NOT NULL,
    signing text,
    sealed_secret bytea,
    public_key text,
    previous_sealed_secret bytea,
    previous_public_key text,
    previous_secret_expires_at timestamptz,
    failing_since timestamptz,
    disabled_reason text,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT webhook_endpoint_pk PRIMARY KEY (tenant_id, endpoint_key),
    CONSTRAINT webhook_endpoint_kind CHECK (kind IN ('webhook', 'slack', 'email')),
    CONSTRAINT webhook_endpoint_signing CHECK (
        CASE kind
            WHEN 'webhook' THEN signing IN ('hmac_sha256', 'ed25519') AND sealed_secret IS NOT NULL
            ELSE signing IS NULL AND sealed_secret IS NULL AND previous_sealed_secret IS NULL
        END
    ),
    CONSTRAINT webhook_endpoint_previous_secret CHECK (
        (previous_sealed_secret IS NULL) = (previous_secret_expires_at IS NULL)
    ),
    CONSTRAINT webhook_endpoint_disabling CHECK (
        (disabled_reason IS NULL) = (disabled_at IS NULL) AND (disabled_reason IS NULL OR NOT enabled)
    )
);

-- One event on its way to one endpoint. `tenant_id` is the endpoint's; the event is of `event_tenant_id`. A claim counts
-- the attempt and holds the row until `leased_until`, so that what a killed process has claimed comes back by itself.
CREATE TABLE webhook_delivery (
    tenant_id bigint NOT NULL,
    delivery_id uuid NOT NULL,
    endpoint_key text NOT NULL,
    event_tenant_id bigint NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    status text NOT NULL,
    attempt_count integer NOT NULL,
    failure_count integer NOT NULL,
    next_attempt_at timestamptz NOT NULL,
    leased_until timestamptz,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT webhook_delivery_pk PRIMARY KEY (tenant_id, delivery_id),
    CONSTRAINT webhook_delivery_once UNIQUE (tenant_id, endpoint_key, event_tenant_id, event_id),
    CONSTRAINT webhook_delivery_endpoint_fk FOREIGN KEY (tenant_id, endpoint_key)
        REFERENCES webhook_endpoint (tenant_id, endpoint_key) ON DELETE CASCADE,
    CONSTRAINT webhook_delivery_status CHECK (status IN ('pending', 'succeeded', 'failed', 'canceled')),
    CONSTRAINT webhook_delivery_finish CHECK ((status = 'pending') = (finished_at IS NULL)),
    CONSTRAINT webhook_delivery_lease CHECK (leased_until IS NULL OR status = 'pending')
);
CREATE INDEX webhook_delivery_waiting ON webhook_delivery (tenant_id, endpoint_key, next_attempt_at, delivery_id)
    WHERE status = 'pending';
CREATE INDEX webhook_delivery_leased ON webhook_delivery (tenant_id, endpoint_key, leased_until)
    WHERE leased_until IS NOT NULL;
CREATE INDEX webhook_delivery_waiting_age ON webhook_delivery (created_at) WHERE status = 'pending';
CREATE INDEX webhook_delivery_by_endpoint ON webhook_delivery (tenant_id, endpoint_key, delivery_id);
CREATE INDEX webhook_delivery_by_id ON webhook_delivery (delivery_id);
CREATE INDEX webhook_delivery_by_age ON webhook_delivery (created_at);

-- What came of each attempt.
CREATE TABLE webhook_attempt (
    tenant_id bigint NOT NULL,
    delivery_id uuid NOT NULL,
    attempt integer NOT NULL,
    started_at timestamptz NOT NULL,
    duration_ms integer NOT NULL,
    outcome text NOT NULL,
    status_code integer,
    response_excerpt text,
    error text,
    CONSTRAINT webhook_attempt_pk PRIMARY KEY (tenant_id, delivery_id, attempt),
    CONSTRAINT webhook_attempt_delivery_fk FOREIGN KEY (tenant_id, delivery_id)
        REFERENCES webhook_delivery (tenant_id, delivery_id) ON DELETE CASCADE,
    CONSTRAINT webhook_attempt_outcome CHECK (outcome IN ('succeeded', 'failed')),
    CONSTRAINT webhook_attempt_excerpt CHECK (octet_length(response_excerpt) <= 4096)
);

GRANT SELECT, INSERT, UPDATE (fanned_out_at), DELETE ON webhook_event TO turnpike_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_endpoint, webhook_delivery TO turnpike_service;
GRANT SELECT, INSERT, DELETE ON webhook_attempt TO turnpike_service;
GRANT SELECT (
    tenant_id, endpoint_key, kind, url, description, events, enabled, signing, public_key, previous_public_key,
    previous_secret_expires_at, failing_since, disabled_reason, disabled_at, created_at, updated_at, revision
) ON webhook_endpoint TO turnpike_tenant;
GRANT SELECT (tenant_id, event_id, event_type, occurred_at, data) ON webhook_event TO turnpike_tenant;
GRANT SELECT ON webhook_delivery, webhook_attempt TO turnpike_tenant;

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['webhook_event', 'webhook_endpoint', 'webhook_delivery', 'webhook_attempt'] LOOP
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
-- What is for operators only is no row for a tenant, whoever forgets to leave it out.
ALTER POLICY webhook_event_tenant ON webhook_event
    USING (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint AND NOT operator_only)
    WITH CHECK (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint AND NOT operator_only);
