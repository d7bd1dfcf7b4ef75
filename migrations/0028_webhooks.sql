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

GRANT SELECT, INSERT, UPDATE (fanned_out_at), DELETE ON webhook_event TO turnpike_service;

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['webhook_event'] LOOP
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
