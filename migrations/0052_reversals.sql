-- Room: Usage. Whether an event was voided is found by a key, however many others have its time. Only reversals are
-- indexed: an event that is not voided costs no more than before.
CREATE INDEX usage_event_reversals ON usage_event (tenant_id, event_time, reversal_of) WHERE reversal_of IS NOT NULL;
