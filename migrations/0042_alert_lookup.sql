-- Room: Limits. By when alerts may be removed: one whose window goes on, which may be for ever, is not looked at.
DROP INDEX alert_by_age;
CREATE INDEX alert_by_age ON alert (greatest(raised_at, window_end)) WHERE removed_at IS NULL;

-- Lists, newest first: of all alerts, of a kind, and of those that each side has acknowledged or has not.
DROP INDEX alert_by_id, alert_open;
CREATE INDEX alert_by_id ON alert (alert_id) WHERE removed_at IS NULL;
CREATE INDEX alert_by_kind ON alert (kind, alert_id) WHERE removed_at IS NULL;
CREATE INDEX alert_open ON alert (alert_id) WHERE acknowledged_at IS NULL AND removed_at IS NULL;
CREATE INDEX alert_acknowledged ON alert (alert_id) WHERE acknowledged_at IS NOT NULL AND removed_at IS NULL;
CREATE INDEX alert_open_of_tenant ON alert (tenant_id, alert_id)
    WHERE tenant_acknowledged_at IS NULL AND removed_at IS NULL;
CREATE INDEX alert_acknowledged_of_tenant ON alert (tenant_id, alert_id)
    WHERE tenant_acknowledged_at IS NOT NULL AND removed_at IS NULL;
