-- Room: Webhooks. Tenants take turns when deliveries are made of events: what waits is found tenant by tenant.
DROP INDEX webhook_event_waiting;
CREATE INDEX webhook_event_turns ON webhook_event (tenant_id, event_id)
    WHERE fanned_out_at IS NULL AND fan_out_failures = 0;

-- Room: Limits. So do they when alerts are raised that wait. The key takes the order in which they are looked for.
ALTER TABLE alert_waiting DROP CONSTRAINT alert_waiting_pk, ADD CONSTRAINT alert_waiting_pk PRIMARY KEY (tenant_id, alert_id);
