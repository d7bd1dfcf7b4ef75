-- The second wall: a transaction under turnpike_tenant sees the rows of the tenant it was opened for and no
-- others; one that forgot to say for whom sees nothing. The owner has a policy of its own, because FORCE would
-- otherwise make a backfill in a later migration touch nothing, silently.
DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY[
        'api_key', 'audit_log', 'idempotency_key', 'tenant', 'subject_directory', 'tenant_ledger', 'subscription',
        'billing_period', 'usage_limit', 'limit_state', 'event_dedup', 'usage_event', 'usage_counter', 'usage_distinct',
        'unmatched_event'
    ] LOOP
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
