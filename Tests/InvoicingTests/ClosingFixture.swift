import BillingCore
import Catalog
import Postgres
import TestSupport
import Testing
import Web

@testable import Invoicing

extension TestServer {
    /// Closes what is due now, as the worker of a replica would, with a read model of its own.
    @discardableResult
    func close(graceHours: Int = 0, asOf: Instant? = nil) async throws -> InvoiceClosing.Progress {
        try await withPool { pool in
            try await closing(pool, graceHours: graceHours).run(asOf: asOf ?? clock.now, waits: true)
        }
    }

    func closing(_ pool: PostgresPool, graceHours: Int = 0) -> InvoiceClosing {
        InvoiceClosing(
            pool: pool,
            catalog: Catalog(pool: pool, clock: clock.clock),
            clock: clock.clock,
            ids: .random(clock.clock),
            grace: InvoiceGrace(hours: graceHours)
        )
    }

    func set(_ time: String) throws { clock.set(try Instant(parsing: time)) }

    /// Seven seconds in November, five in December, and the end of the subscription in the middle of December: all
    /// invoiced, the clock at the end.
    func endInSecondPeriod() async throws {
        try await ingest(SentEvent("november", data: #"{"seconds":7}"#))
        try set("2026-12-05T00:00:00Z")
        try await close()
        try await ingest(SentEvent("december", data: #"{"seconds":5}"#))
        try await endSubscription(at: "2026-12-16T00:00:00Z")
        try await close()
    }

    /// Ends the one subscription, and it is that time.
    func endSubscription(at end: String) async throws {
        let id = try await ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
        try await ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"\#(end)"}"#)
        try set(end)
    }

    /// When each draft is due to be finalised.
    func finalAt() async throws -> [String?] {
        try await column(
            #"""
            SELECT to_char(issued_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            FROM invoice WHERE status = 'draft' ORDER BY issued_at
            """#
        )
    }

    /// Every invoice with its lines, as far as it is pinned: `regular 0 finalized 12.00: fee base 10.00, usage s 2.00`.
    func invoices(_ tenant: String = "acme") async throws -> [String] {
        try await column(
            """
            SELECT invoice.kind || ' ' || invoice.period_index || ' ' || invoice.status
                || coalesce(' ' || round(document.total, 2) || ': ' || coalesce((
                    SELECT string_agg(line.kind || ' ' || line.item_key || ' ' || round(line.amount, 2), ', '
                        ORDER BY line.line_number)
                    FROM invoice_line AS line
                    WHERE line.tenant_id = invoice.tenant_id AND line.invoice_id = invoice.invoice_id
                ), ''), '')
            FROM invoice
            JOIN tenant USING (tenant_id)
            LEFT JOIN invoice_document AS document USING (tenant_id, invoice_id)
            WHERE tenant.key = \(tenant)
            ORDER BY coalesce(document.sequence, 1000000), invoice.issued_at
            """
        ).compactMap { $0 }
    }
}

/// A tenant with a fee of 10 in advance, one of 3 in arrears, and seconds at 1 each, from the start of November.
enum ClosingStory {
    static let plan = """
        {"fees":[{"key":"base","name":"Base","amount":"10","charged":"in_advance"},
                 {"key":"care","name":"Care","amount":"3","charged":"in_arrears"}],
         "charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"1"}}]}
        """

    static func run(
        plan: String = plan,
        start: String = "2026-11-01T00:00:00Z",
        zone: String = "UTC",
        currency: String = "USD",
        _ body: (TestServer) async throws -> Void
    ) async throws {
        try await TestServer.run(clock: TestClock(start)) { server in
            try await server.addTenant("acme", currency: currency, zone: zone)
            try await server.addFeature("seconds")
            try await server.publish(plan, currency: currency)
            try await server.subscribe(at: start)
            try await body(server)
        }
    }
}
