extension TwoTenants {
    /// A webhook endpoint of each tenant that nothing more is told to, and what was told to it.
    static let webhookRows = """
        INSERT INTO webhook_event (tenant_id, event_id, event_type, occurred_at, operator_only, data, fanned_out_at)
        SELECT tenant_id, ('0193a1c2-0009-7000-8000-00000000000' || tenant_id)::uuid, 'webhook.test', '2026-11-23Z',
            false, json_build_object('tenant', key, 'endpoint', key || '-hook'), '2026-11-23Z'
        FROM tenant;
        INSERT INTO webhook_endpoint (
            tenant_id, endpoint_key, kind, url, description, events, enabled, created_at, updated_at, revision
        )
        SELECT tenant_id, key || '-hook', 'slack', 'https://127.0.0.1/' || key, key || '-note', '{webhook.test}', true,
            '2026-11-23Z', '2026-11-23Z', 1
        FROM tenant;
        INSERT INTO webhook_delivery (
            tenant_id, delivery_id, endpoint_key, event_tenant_id, event_id, event_type, status, attempt_count,
            failure_count, next_attempt_at, created_at, finished_at
        )
        SELECT tenant_id, ('0193a1c2-0008-7000-8000-00000000000' || tenant_id)::uuid, key || '-hook', tenant_id,
            ('0193a1c2-0009-7000-8000-00000000000' || tenant_id)::uuid, 'webhook.test', 'succeeded', 1, 0,
            '2026-11-23Z', '2026-11-23Z', '2026-11-23Z'
        FROM tenant;
        INSERT INTO webhook_attempt (
            tenant_id, delivery_id, attempt, started_at, duration_ms, outcome, status_code, response_excerpt
        )
        SELECT tenant_id, ('0193a1c2-0008-7000-8000-00000000000' || tenant_id)::uuid, 1, '2026-11-23Z', 1,
            'succeeded', 200, key || '-note'
        FROM tenant
        """
}
