-- Room: Webhooks. Tenants take turns when deliveries are made of events: what waits is found tenant by tenant.
DROP INDEX webhook_event_waiting;
CREATE INDEX webhook_event_turns ON webhook_event (tenant_id, event_id)
    WHERE fanned_out_at IS NULL AND fan_out_failures = 0;

-- What failed or was canceled is mostly little, and listed the newest first: of all owners, and of one.
CREATE INDEX webhook_delivery_failed ON webhook_delivery (delivery_id) WHERE status = 'failed';
CREATE INDEX webhook_delivery_failed_of_owner ON webhook_delivery (tenant_id, delivery_id) WHERE status = 'failed';
CREATE INDEX webhook_delivery_canceled ON webhook_delivery (delivery_id) WHERE status = 'canceled';
CREATE INDEX webhook_delivery_canceled_of_owner ON webhook_delivery (tenant_id, delivery_id) WHERE status = 'canceled';

-- Room: Limits. Tenants take turns, too, when alerts that wait are raised: the key has the order in which these are found.
ALTER TABLE alert_waiting DROP CONSTRAINT alert_waiting_pk, ADD CONSTRAINT alert_waiting_pk PRIMARY KEY (tenant_id, alert_id);
