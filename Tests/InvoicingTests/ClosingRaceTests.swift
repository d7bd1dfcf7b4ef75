import BillingCore
import Catalog
import Postgres
import TestSupport
import Testing
import Web

@testable import Invoicing

/// Many at once, and deaths in between: exactly one invoice of a period, no gap in the numbers, no event in neither.
@Suite(.timeLimit(.minutes(15)))
struct ClosingRaceTests {
    @Test func `workers that close the same periods at once make one invoice of each, without a gap`() async throws {
        try await ClosingStory.run { server in
            try await Self.addTenants(30, server)
            try server.set("2027-02-01T00:00:00Z")
            try await server.withPool { first in
                try await server.withPool { second in
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for pool in [first, second, first, second] {
                            group.addTask {
                                _ = try await Self.closing(server, pool).run(asOf: server.clock.now, waits: true)
                            }
                        }
                        try await group.waitForAll()
                    }
                }
            }
            try await Self.expectWhole(server, invoices: 31 * 4)
        }
    }

    /// The backend ends before and after each statement that writes, and at COMMIT, in every attempt.
    @Test func `a worker killed between any two statements leaves nothing half done`() async throws {
        try await ClosingStory.run { server in
            try await Self.addTenants(5, server)
            // The clock stays before that: the service's own worker must close nothing between two deaths.
            let due = try Instant(parsing: "2026-12-01T00:00:00Z")
            try await server.database.run(Self.death)
            try await Self.closeDying(server, Self.atCommit("invoice"), "invoice", asOf: due)
            for statement in Self.writes {
                for place in ["BEFORE", "AFTER"] {
                    try await Self.closeDying(
                        server,
                        "CREATE TRIGGER death \(place) \(statement.verb) ON \(statement.table) FOR EACH STATEMENT",
                        statement.table,
                        asOf: due
                    )
                }
            }
            try await Self.closeDying(server, Self.atCommit("invoice_document"), "invoice_document", asOf: due)
            try await server.close(asOf: due)
            try await Self.expectWhole(server, invoices: 6 * 2)
        }
    }

    private static func atCommit(_ table: String) -> String {
        "CREATE CONSTRAINT TRIGGER death AFTER INSERT ON \(table) DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
    }

    private static let death = """
        CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            PERFORM pg_terminate_backend(pg_backend_pid());
            PERFORM pg_sleep(1);
            RETURN NULL;
        END
        $$
        """

    /// In the order in which the transactions write, the ones that draft first.
    private static let writes: [(verb: String, table: String)] = [
        ("UPDATE", "tenant_ledger"), ("INSERT", "invoice"), ("UPDATE", "subscription"), ("UPDATE", "invoice"),
        ("INSERT", "billing_period"), ("UPDATE", "billing_period"), ("INSERT", "invoice_line"),
        ("UPDATE", "invoice_series"), ("INSERT", "invoice_document"), ("INSERT", "audit_log"),
    ]

    /// Closes while a trigger ends the backend, which it must have reached.
    private static func closeDying(
        _ server: TestServer,
        _ trigger: String,
        _ table: String,
        asOf due: Instant
    ) async throws {
        try await server.database.run(trigger + " EXECUTE FUNCTION die()")
        var hasDied = false
        do {
            try await server.close(asOf: due)
        } catch {
            hasDied = true
        }
        #expect(hasDied, "\(trigger) was never reached")
        try await server.database.run("DROP TRIGGER death ON \(table)")
        try await expectNoGap(server)
    }

    @Test func `an event at the moment of finalising is in that invoice or in an adjustment`() async throws {
        try await ClosingStory.run { server in
            try await server.close()
            let subscription = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            #expect(!subscription.isEmpty)
            let (months, senders, events) = (24, 4, 25)
            for month in 0..<months {
                let year = 2026 + (11 + month) / 12
                let number = (11 + month) % 12 + 1
                try server.set("\(year)-\(number < 10 ? "0" : "")\(number)-01T00:00:00Z")
                let before = server.clock.now.adding(microseconds: -1).description
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for sender in 0..<senders {
                        group.addTask {
                            for index in 0..<events {
                                let id = "\(month)-\(sender)-\(index)"
                                try await server.ingest(SentEvent(id, time: before, data: #"{"seconds":1}"#))
                            }
                        }
                    }
                    group.addTask { try await server.close() }
                    try await group.waitForAll()
                }
            }
            // One more period without usage brings the last adjustment.
            try server.set("2028-12-01T00:00:00Z")
            try await server.close()
            let invoiced = try await server.column(
                "SELECT sum(amount)::bigint::text FROM invoice_line WHERE item = 'usage'"
            )
            #expect(invoiced == [String(months * senders * events)])
            let adjusted = try await server.column(
                "SELECT (count(*) > 0)::text FROM invoice_line WHERE item = 'usage' AND kind = 'adjustment'"
            )
            #expect(adjusted == ["true"], "the race was never lost, so it was none")
            let waiting = try await server.column("SELECT count(*)::text FROM billing_period WHERE needs_adjustment")
            #expect(waiting == ["0"])
        }
    }

    @Test func `credit is never spent twice by invoices that are finalised at once`() async throws {
        try await ClosingStory.run { server in
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            // Subscriptions one after the other, so that several drafts of one tenant use the same credit.
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-11-02T00:00:00Z"}"#)
            for day in 2..<12 {
                let next = try await server.subscribe(at: "2026-11-\(day < 10 ? "0" : "")\(day)T00:00:00Z")
                let end = "2026-11-\(day + 1 < 10 ? "0" : "")\(day + 1)T00:00:00Z"
                try await server.ask("POST", "/subscriptions/\(next)/cancel", #"{"at":"\#(end)"}"#)
            }
            try await server.ask(
                "POST",
                "/tenants/acme/credit-grants",
                #"{"kind":"promotional","name":"gift","amount":"2.50"}"#,
                expecting: 201
            )
            try server.set("2026-11-20T00:00:00Z")
            try await server.close(graceHours: 700)
            let drafts = try await server.column("SELECT invoice_id::text FROM invoice WHERE status = 'draft'")
            #expect(drafts.count >= 10)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for draft in drafts.compactMap({ $0 }) {
                    group.addTask {
                        _ = try await server.operatorClient.post("/api/v1/invoices/\(draft)/finalize")
                    }
                }
                try await group.waitForAll()
            }
            let sums = try await server.column(
                """
                SELECT round(amount - remaining, 2) || ' '
                    || (SELECT round(sum(credit_application.amount), 2) FROM credit_application) || ' '
                    || (SELECT round(sum(promotional_credit), 2) FROM invoice_line)
                FROM credit_grant WHERE kind = 'promotional'
                """
            )
            #expect(sums == ["2.50 2.50 2.50"])
        }
    }

    private static func closing(_ server: TestServer, _ pool: PostgresPool) -> InvoiceClosing {
        server.closing(pool)
    }

    private static func addTenants(_ count: Int, _ server: TestServer) async throws {
        for index in 0..<count {
            try await server.addTenant("t\(index)")
            try await server.subscribe("t\(index)", at: "2026-11-01T00:00:00Z")
        }
    }

    private static func expectNoGap(_ server: TestServer) async throws {
        let gap = try await server.column(
            """
            SELECT (count(*) = coalesce(max(sequence), 0) AND count(DISTINCT sequence) = count(*)
                AND coalesce(max(sequence), 0) + 1 = (
                    SELECT next_sequence FROM invoice_series WHERE tenant_id = 0 AND series = 'invoice'
                ))::text
            FROM invoice_document
            """
        )
        #expect(gap == ["true"])
        let halves = try await server.column(
            """
            SELECT invoice_id::text
            FROM invoice LEFT JOIN invoice_document AS document USING (tenant_id, invoice_id)
            WHERE (status = 'draft') <> (document.invoice_id IS NULL)
                OR (status = 'draft' AND EXISTS (
                    SELECT FROM invoice_line AS line WHERE line.invoice_id = invoice.invoice_id
                ))
            """
        )
        #expect(halves == [])
    }

    private static func expectWhole(_ server: TestServer, invoices count: Int) async throws {
        try await expectNoGap(server)
        let found = try await server.column(
            "SELECT count(*)::text FROM invoice WHERE status <> 'draft'"
        )
        #expect(found == [String(count)])
        let twice = try await server.column(
            """
            SELECT subscription_id::text FROM invoice WHERE kind <> 'adjustment' AND status <> 'void'
            GROUP BY subscription_id, kind, period_index HAVING count(*) <> 1
            """
        )
        #expect(twice == [])
        let open = try await server.column("SELECT count(*)::text FROM billing_period WHERE status = 'open'")
        #expect(open == ["0"])
    }
}
