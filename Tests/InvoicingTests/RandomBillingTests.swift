import Postgres
import TestSupport
import Testing
import Usage
import Web

@testable import Invoicing

/// Half a year of a tenant over HTTP, by a seed: usage, late usage and voids, promotional and prepaid credit,
/// discounts, invoices voided and issued again; at the end all usage is void.
@Suite(.timeLimit(.minutes(15)))
struct RandomBillingTests {
    private static let months = [
        "2026-11", "2026-12", "2027-01", "2027-02", "2027-03", "2027-04", "2027-05", "2027-06",
    ]
    private static let plan = """
        {"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"1"}}],
         "minimum_commitment":"10","included_credit":"4"}
        """

    @Test(arguments: [("USD", 1), ("JPY", 2), ("KWD", 3), ("USD", 4)])
    func `credits conserve, invoices verify, and without its usage each period costs its commitment`(
        _ currency: String,
        _ seed: Int
    ) async throws {
        try await ClosingStory.run(plan: Self.plan, currency: currency) { server in
            var story = Story(server: server, generator: SeededGenerator(seed: UInt64(seed)))
            let inclusive = seed % 2 == 0
            let tax = #"{"rates":[{"key":"vat","name":"VAT","percent":"7.5"}],"inclusive":\#(inclusive)}"#
            try await server.ask("PATCH", "/tenants/acme", #"{"billing":{"tax":\#(tax)}}"#)
            for month in 0..<5 {
                try await story.live(Self.months[month], before: month > 0 ? Self.months[month - 1] : nil)
                try await story.close(at: "\(Self.months[month + 1])-01T00:00:00Z")
            }
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2027-05-01T00:00:00Z"}"#)
            try await story.voidAll()
            try server.set("2027-05-01T00:00:00Z")
            try await server.close()
            let waiting = try await server.column("SELECT count(*)::text FROM billing_period WHERE needs_adjustment")
            #expect(waiting == ["0"])
            #expect(try await server.invoiceDifferences() == [])
            let periods = try await server.column(
                """
                SELECT DISTINCT round(sum(line.amount - line.discount - line.included_credit), 3)::text
                FROM invoice_line AS line
                JOIN invoice USING (tenant_id, invoice_id)
                WHERE invoice.status <> 'void'
                GROUP BY line.period_index
                """
            )
            #expect(periods == ["6.000"])
            // Nothing but the commitments was paid for in the end, by money or by promotional credit.
            let paid = try await server.column(
                """
                SELECT (sum(document.total - document.carried_forward)
                    BETWEEN 0 AND 6 * 6 * 1.075 - (SELECT sum(line.promotional_credit) FROM invoice_line AS line
                        JOIN invoice USING (tenant_id, invoice_id) WHERE invoice.status <> 'void') + 1)::text
                FROM invoice_document AS document
                JOIN invoice USING (tenant_id, invoice_id)
                WHERE invoice.status <> 'void'
                """
            )
            #expect(paid == ["true"])
        }
    }

    private struct Story {
        let server: TestServer
        var generator: SeededGenerator
        private var events: [String] = []
        private var count = 0

        init(server: TestServer, generator: SeededGenerator) {
            self.server = server
            self.generator = generator
        }

        /// Goes through a month: what is given and used in it, and what is sent late for the one before.
        mutating func live(_ month: String, before: String?) async throws {
            try server.set("\(month)-20T00:00:00Z")
            for _ in 0..<below(3) {
                let kind = below(3) == 0 ? "prepaid" : "promotional"
                let expiry = below(3) == 0 ? #","expires_at":"2027-01-15T00:00:00Z""# : ""
                let isLive = month < "2027-01"
                _ = try await server.grant(
                    #"{"name":"\#(kind)","kind":"\#(kind)","amount":"\#(1 + below(60))"\#(isLive ? expiry : "")}"#
                )
            }
            if below(3) == 0 {
                let discount = #"{"name":"Less","percent":"\#(1 + below(99))","duration":"once"}"#
                try await server.ask("POST", "/tenants/acme/discounts", discount, expecting: 201)
            }
            for _ in 0..<(1 + below(4)) { try await send("\(month)-10T00:00:00Z") }
            if let before, below(2) == 0 { try await send("\(before)-25T00:00:00Z") }
            for _ in 0..<below(4) where !events.isEmpty { try await voidOne() }
        }

        /// Finalises what is due, and voids the last invoice now and then, if that may be, to issue it again.
        mutating func close(at time: String) async throws {
            try server.set(time)
            try await server.close()
            guard below(2) == 0 else { return }
            let last = try await server.column(
                "SELECT invoice_id::text FROM invoice_document ORDER BY sequence DESC LIMIT 1"
            )
            guard let id = last.first ?? nil else { return }
            let voided = try await server.operatorClient.post("/api/v1/invoices/\(id)/void")
            guard voided.status == 200 else { return }
            #expect(try await server.invoiceDifferences() == [])
            let draft = try await server.ask("POST", "/invoices/\(id)/reissue", expecting: 201)
            try await server.ask("POST", "/invoices/\(draft["id"]?.string ?? "")/finalize")
        }

        mutating func voidAll() async throws {
            while !events.isEmpty { try await voidOne() }
        }

        private mutating func send(_ time: String) async throws {
            count += 1
            let event = SentEvent("e\(count)", time: time, data: #"{"seconds":\#(1 + below(40)).\#(below(1_000))}"#)
            #expect(try await server.ingest(event) == "accepted 1")
            events.append(event.id)
        }

        private mutating func voidOne() async throws {
            _ = try await server.void(events.remove(at: below(events.count)))
        }

        private mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &generator) }
    }
}
