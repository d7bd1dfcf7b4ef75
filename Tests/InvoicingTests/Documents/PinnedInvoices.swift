import TestSupport

/// Finalised invoices put straight into their tables, for tests of reading that need many, or ones of exact shape.
enum PinnedInvoices {
    static func id(_ number: Int) -> String {
        let digits = String(number)
        return "0193a1c2-0001-7000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
    }

    /// Tenants `acme` and `beta` on a plan, and one invoice of each per number, the even ones of `beta`: a fee of 10.00
    /// with 19 % tax and a usage line of 0.50 whose event is in the log.
    static func arrange(_ server: TestServer, count: Int) async throws {
        for key in ["acme", "beta"] { try await server.addTenant(key, zone: "Europe/Berlin") }
        try await server.addFeature("seconds")
        try await server.publish(
            #"{"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"0.1"}}]}"#
        )
        for key in ["acme", "beta"] { try await server.subscribe(key, at: "2026-11-01T00:00:00Z") }
        try await insert(server, numbers: 1...count)
    }

    /// `status` is that of all of them.
    static func insert(_ server: TestServer, numbers: ClosedRange<Int>, status: String = "finalized") async throws {
        try await server.database.run(heads(numbers, status) + lines + "DROP TABLE made")
    }

    private static func heads(_ numbers: ClosedRange<Int>, _ status: String) -> String {
        """
        CREATE TEMPORARY TABLE made AS
        SELECT number, tenant_id, key, name, subscription_id,
            ('0193a1c2-0001-7000-8000-' || lpad(number::text, 12, '0'))::uuid AS invoice_id,
            timestamptz '2026-12-01Z' + number * interval '1 minute' AS issued_at
        FROM generate_series(\(numbers.lowerBound), \(numbers.upperBound)) AS number
        JOIN tenant ON key = CASE WHEN number % 2 = 0 THEN 'beta' ELSE 'acme' END
        JOIN subscription USING (tenant_id);
        INSERT INTO invoice (
            tenant_id, invoice_id, subscription_id, kind, period_index, period_start, period_end, created_at,
            status, issued_at, updated_at, revision
        )
        SELECT tenant_id, invoice_id, subscription_id, 'regular', number, '2026-11-01Z', '2026-12-01Z', issued_at,
            '\(status)', issued_at, issued_at, 1
        FROM made;
        INSERT INTO invoice_document (
            tenant_id, invoice_id, sequence, number, finalized_at, due_at, ledger_seq, currency, tenant_key,
            tenant_name, subtotal, discount, credits, tax, total, carried_forward, paid_by_credit, amount_due,
            facts, content_hash
        )
        SELECT tenant_id, invoice_id, number, 'INV-' || lpad(number::text, 6, '0'), issued_at,
            issued_at + interval '30 days', 2, 'USD', key, name, 10.50, 0, 0, 1.90, 12.40, 0, 0, 12.40,
            json_build_object(
                'plan', 'pro', 'plan_name', 'Pro', 'plan_version', 1, 'timezone', 'Europe/Berlin',
                'billing_email', 'ap@example.com', 'notes', json_build_array('Thank you.'),
                'billing', json_build_object(
                    'address', json_build_object('line1', 'Main Street 1', 'postal_code', '10115', 'city', 'Berlin'),
                    'tax', json_build_object(
                        'rates', json_build_array(json_build_object('key', 'vat', 'name', 'VAT', 'percent', '19'))
                    )
                ),
                'seller', json_build_object('name', 'Turnpike Resale Ltd', 'lines', json_build_array('Dublin'))
            ),
            sha256(key::bytea)
        FROM made;

        """
    }

    private static let lines = """
        INSERT INTO invoice_line (
            tenant_id, invoice_id, line_number, kind, item, item_key, item_name, subscription_id, period_index,
            segment, cell, starts_at, ends_at, description, quantity, amount_exact, previously_invoiced, amount,
            discount, included_credit, promotional_credit, tax, facts
        )
        SELECT tenant_id, invoice_id, line, CASE line WHEN 1 THEN 'fee' ELSE 'usage' END,
            CASE line WHEN 1 THEN 'fee_in_arrears' ELSE 'usage' END,
            CASE line WHEN 1 THEN 'base' ELSE 'seconds' END, CASE line WHEN 1 THEN 'Base' ELSE 'Seconds' END,
            subscription_id, number, 0, '', '2026-11-01Z', '2026-12-01Z',
            CASE line WHEN 1 THEN '=Base fee' ELSE 'Seconds (1 Nov - 1 Dec)' END,
            CASE line WHEN 2 THEN 5 END, CASE line WHEN 1 THEN '10' ELSE '0.5' END, 0,
            CASE line WHEN 1 THEN 10 ELSE 0.5 END, 0, 0, 0, CASE line WHEN 1 THEN 1.90 ELSE 0 END,
            CASE line
                WHEN 1 THEN json_build_object(
                    'plan', 'pro', 'plan_version', 1,
                    'taxes', json_build_array(json_build_object('rate', 'vat', 'amount', '1.9'))
                )
                ELSE json_build_object(
                    'plan', 'pro', 'plan_version', 1, 'unit', 'second', 'event_count', 2,
                    'price_model', 'per_unit', 'ledger_sequence', 2,
                    'tiers', json_build_array(json_build_object(
                        'up_to', null, 'quantity', '5', 'unit_amount', '0.1', 'flat_amount', '0', 'amount', '0.5'
                    ))
                )
            END
        FROM made CROSS JOIN generate_series(1, 2) AS line;

        """
}
