extension TwoTenants {
    /// The id of one of a tenant's finance records: the same shape for every tenant, told apart by its number.
    static func financeID(_ kind: Int, tenant number: Int) -> String {
        "0193a1c2-000\(kind)-7000-8000-00000000000\(number)"
    }

    /// A finalised invoice with a line, a credit, its use, a discount and a credit note of each tenant, and a number
    /// series that no operation gives to a tenant.
    static let financeRows = """
        INSERT INTO invoice (
            tenant_id, invoice_id, subscription_id, kind, period_index, period_start, period_end, created_at, status,
            issued_at, updated_at, revision
        )
        SELECT tenant_id, ('0193a1c2-0001-7000-8000-00000000000' || tenant_id)::uuid, subscription_id, 'adjustment',
            900, '2020-01-01Z', '2020-02-01Z', '2020-02-01Z', 'finalized', '2020-02-01Z', '2020-02-01Z', 1
        FROM subscription;
        INSERT INTO invoice_document (
            tenant_id, invoice_id, sequence, number, finalized_at, due_at, ledger_seq, currency,
            tenant_key, tenant_name, subtotal, discount, credits, tax, total, carried_forward,
            paid_by_credit, amount_due, facts, content_hash
        )
        SELECT tenant_id, invoice_id, tenant_id, 'OLD-' || tenant_id, '2020-02-01Z', '2020-03-01Z', 0, 'USD', key,
            name, 10, 0, 0, 0, 10, 0, 0, 10,
            json_build_object(
                'plan', 'pair', 'plan_name', 'Pair', 'plan_version', 1, 'timezone', 'UTC',
                'billing', json_build_object()
            ),
            sha256(key::bytea)
        FROM invoice JOIN tenant USING (tenant_id)
        WHERE period_index = 900;
        INSERT INTO invoice_line (
            tenant_id, invoice_id, line_number, kind, item, item_key, item_name, subscription_id, period_index, cell,
            starts_at, ends_at, description, amount_exact, previously_invoiced, amount, discount, included_credit,
            promotional_credit, tax, facts
        )
        SELECT tenant_id, invoice_id, 1, 'adjustment', 'fee_in_arrears', 'old', 'Old', subscription_id, 900, '',
            period_start, period_end, 'Old fee', '10', 0, 10, 0, 0, 0, 0, json_build_object('plan', 'pair')
        FROM invoice
        WHERE period_index = 900;
        INSERT INTO credit_grant (
            tenant_id, credit_grant_id, kind, name, currency, amount, remaining, priority, origin, created_at,
            updated_at, revision
        )
        SELECT tenant_id, ('0193a1c2-0002-7000-8000-00000000000' || tenant_id)::uuid, 'promotional', key || ' credit',
            'USD', 5, 4, 0, 'api', '2020-01-01Z', '2020-01-01Z', 1
        FROM tenant;
        INSERT INTO credit_application (tenant_id, invoice_id, credit_grant_id, amount, created_at)
        SELECT tenant_id, invoice_id, credit_grant_id, 1, '2020-02-01Z'
        FROM invoice JOIN credit_grant USING (tenant_id)
        WHERE period_index = 900;
        INSERT INTO discount (
            tenant_id, discount_id, name, percent, duration, uses, created_at, ended_at, updated_at, revision
        )
        SELECT tenant_id, ('0193a1c2-0003-7000-8000-00000000000' || tenant_id)::uuid, key || ' discount', 10,
            'forever', 0, '2020-01-01Z', '2020-01-02Z', '2020-01-02Z', 2
        FROM tenant;
        INSERT INTO credit_note (
            tenant_id, credit_note_id, invoice_id, sequence, number, created_at, currency, reason, amount, tax, total,
            settled_as, facts
        )
        SELECT tenant_id, ('0193a1c2-0004-7000-8000-00000000000' || tenant_id)::uuid, invoice_id, tenant_id,
            'OLD-CN-' || tenant_id, '2020-02-02Z', 'USD', 'test', 1, 0, 1, 'external',
            json_build_object('tenant', key, 'tenant_name', name, 'invoice_number', 'OLD-' || tenant_id)
        FROM invoice JOIN tenant USING (tenant_id)
        WHERE period_index = 900;
        INSERT INTO credit_note_line (tenant_id, credit_note_id, line_number, invoice_id, description, amount, tax)
        SELECT tenant_id, credit_note_id, 1, invoice_id, 'Old fee', 1, 0
        FROM credit_note;
        INSERT INTO invoice_series (tenant_id, series, prefix, next_sequence)
        SELECT tenant_id, 'other', 'X-', 1
        FROM tenant
        """
}

extension TwoTenants.Names {
    var invoice: String { financeID(1) }
    var creditGrant: String { financeID(2) }
    var discount: String { financeID(3) }
    var creditNote: String { financeID(4) }
    var alert: String { financeID(5) }
    var delivery: String { financeID(8) }
    var webhookEndpoint: String { "\(tenant)-hook" }

    /// Of a record among the tenant's finance records; the tenants are made in this order.
    private func financeID(_ kind: Int) -> String {
        TwoTenants.financeID(kind, tenant: ["alpha": 1, "bravo": 2][tenant] ?? 9)
    }
}
