-- Room: Invoicing. When it was told that an invoice is overdue; null until it is.
ALTER TABLE invoice ADD COLUMN overdue_told_at timestamptz;
CREATE INDEX invoice_not_told_overdue ON invoice (tenant_id, invoice_id) WHERE status = 'finalized' AND overdue_told_at IS NULL;
GRANT UPDATE (overdue_told_at) ON invoice TO turnpike_service;

-- Room: Limits. Alerts are kept for a time. One that could be raised again leaves its key behind, emptied and hidden, so
-- that `alert_once` goes on to hold.
ALTER TABLE alert ADD COLUMN removed_at timestamptz;
CREATE INDEX alert_by_age ON alert (raised_at) WHERE removed_at IS NULL;
GRANT UPDATE (removed_at, detail), DELETE ON alert TO turnpike_service;

-- Room: Webhooks. An event whose deliveries can't be made is tried again by itself, at `fan_out_retry_at`, and set aside
-- after some failures: it is as good as fanned out then, to nobody.
ALTER TABLE webhook_event
    ADD COLUMN fan_out_failures integer NOT NULL DEFAULT 0,
    ADD COLUMN fan_out_retry_at timestamptz,
    ADD COLUMN set_aside_at timestamptz,
    ADD CONSTRAINT webhook_event_fan_out CHECK (
        (fan_out_failures > 0) = (fan_out_retry_at IS NOT NULL) AND (set_aside_at IS NULL OR fanned_out_at IS NOT NULL)
    );
CREATE INDEX webhook_event_retried ON webhook_event (fan_out_retry_at)
    WHERE fanned_out_at IS NULL AND fan_out_failures > 0;
GRANT UPDATE (fan_out_failures, fan_out_retry_at, set_aside_at) ON webhook_event TO turnpike_service;

-- The URL of an incoming webhook of Slack is a secret: encrypted under TURNPIKE_MASTER_KEY, and `url` is what is shown
-- of it. Rows of the release before have it in `url` until they are written again.
ALTER TABLE webhook_endpoint
    ADD COLUMN sealed_url bytea,
    ADD CONSTRAINT webhook_endpoint_sealed_url CHECK (sealed_url IS NULL OR kind = 'slack');
