-- Room: Webhooks. At an endpoint of the operator the events of all tenants take turns.
CREATE INDEX webhook_delivery_turns ON webhook_delivery (endpoint_key, event_tenant_id, next_attempt_at, delivery_id)
    WHERE status = 'pending' AND tenant_id = 0;
