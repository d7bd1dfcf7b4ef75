import BillingCore
import Logging
import Postgres
import TestSupport
import Testing

@testable import Invoicing

/// An invoice that can't be stored.
@Suite(.timeLimit(.minutes(15)))
struct ClosingFaultTests {
    @Test func `it keeps back none of other tenants, and is put off`() async throws {
        try await ClosingStory.run { server in
            let others = ["b", "c", "d"]
            for other in others {
                try await server.addTenant(other, currency: "USD", zone: "UTC")
                try await server.subscribe(other, at: "2026-11-01T00:00:00Z")
            }
            try await server.close(graceHours: 1)
            // A line is in the way of the draft's first.
            _ = try await server.column(
                """
                INSERT INTO invoice_line (
                    tenant_id, invoice_id, line_number, kind, item, item_key, item_name, subscription_id, period_index,
                    cell, starts_at, ends_at, description, amount_exact, previously_invoiced, amount, discount,
                    included_credit, promotional_credit, tax, facts
                )
                SELECT tenant_id, invoice_id, 1, 'fee', 'fee_in_advance', 'x', 'x', subscription_id, 99, '', now(),
                    now(), '', '0', 0, 0, 0, 0, 0, 0, '{}'
                FROM invoice JOIN tenant USING (tenant_id)
                WHERE tenant.key = 'acme'
                RETURNING description
                """
            )
            try server.set("2026-11-01T01:00:00Z")
            let progress = try await server.close()
            #expect(progress.finalized == 3 && progress.failed == 1)
            for other in others {
                #expect(try await server.invoices(other) == ["opening 0 finalized 10.00: fee base 10.00"])
            }
            #expect(try await server.finalAt() == ["2026-11-01T02:00:00Z"])
        }
    }

    /// What fails of one tenant whatever it is: a value out of range, a timeout, somebody's own rule.
    @Test(arguments: ["22003", "57014", "25P03", "P0001", "53200"])
    func `an invoice whose finalising fails in any way keeps back none of other tenants`(state: String) async throws {
        try await ClosingStory.run { server in
            try await Self.addOthers(server)
            try await server.close(graceHours: 1)
            try await Self.refuse("INSERT ON invoice_line", state, server)
            try server.set("2026-11-01T01:00:00Z")
            let log = TestLog()
            try await Self.close(server, log)
            for other in Self.others {
                #expect(try await server.invoices(other) == ["opening 0 finalized 10.00: fee base 10.00"])
            }
            #expect(try await server.finalAt() == ["2026-11-01T02:00:00Z"])
            #expect(log.text.contains("an invoice cannot be finalised, and is put off"))
            try await server.database.run("DROP TRIGGER refusal ON invoice_line")
            try server.set("2026-11-01T02:00:00Z")
            try await server.close()
            #expect(try await server.invoices() == ["opening 0 finalized 10.00: fee base 10.00"])
        }
    }

    @Test func `an invoice beyond what an amount can hold is told of in the log, and put off`() async throws {
        try await ClosingStory.run { server in
            let fees = ["a", "b"].map { key in
                #"{"key":"\#(key)","name":"\#(key)","amount":"60000000000000000000000000","charged":"in_advance"}"#
            }
            try await server.publish(#"{"fees":[\#(fees.joined(separator: ","))]}"#, as: "dear")
            try await server.addTenant("rich", currency: "USD", zone: "UTC")
            try await server.subscribe("rich", to: "dear", at: "2026-11-01T00:00:00Z")
            try await server.close(graceHours: 1)
            try server.set("2026-11-01T01:00:00Z")
            let log = TestLog()
            try await Self.close(server, log)
            let line = log.lines.first { $0.contains("an invoice cannot be finalised, and is put off") }
            #expect(line?.contains("tenant_id") == true, "\(log.text)")
            #expect(try await server.invoices() == ["opening 0 finalized 10.00: fee base 10.00"])
        }
    }

    @Test func `a tenant whose invoice cannot be drafted keeps back none of others, and is put off`() async throws {
        try await ClosingStory.run { server in
            try await Self.addOthers(server)
            try await Self.refuse("INSERT ON invoice", "22003", server)
            let log = TestLog()
            try await Self.close(server, log)
            for other in Self.others {
                #expect(try await server.invoices(other) == ["opening 0 finalized 10.00: fee base 10.00"])
            }
            #expect(try await server.invoices() == [])
            #expect(log.text.contains("the invoices of a tenant cannot be drafted, and are put off"))
            try await server.database.run("DROP TRIGGER refusal ON invoice")
            try server.set("2026-11-01T01:00:00Z")
            try await server.close()
            #expect(try await server.invoices() == ["opening 0 finalized 10.00: fee base 10.00"])
        }
    }

    @Test func `an adjustment that cannot be drafted keeps back no invoice of others`() async throws {
        try await ClosingStory.run { server in
            try await server.endInSecondPeriod()
            let before = try await server.invoices()
            var late = SentEvent("late", data: #"{"seconds":3}"#)
            late.time = "2026-11-20T00:00:00Z"
            try await server.ingest(late)
            try await Self.addOthers(server, at: "2026-12-16T00:00:00Z")
            try await Self.refuse("INSERT ON invoice", "22003", server)
            let log = TestLog()
            try await Self.close(server, log)
            for other in Self.others {
                #expect(try await server.invoices(other) == ["opening 0 finalized 10.00: fee base 10.00"])
            }
            #expect(try await server.invoices() == before)
            #expect(log.text.contains("the adjustment of a subscription cannot be drafted, and is put off"))
            try await Self.isLeftAlone(server)
            try await server.database.run("DROP TRIGGER refusal ON invoice")
            try server.set("2026-12-16T01:00:00Z")
            try await server.close()
            #expect(try await server.invoices().count == before.count + 1)
        }
    }

    @Test func `a last invoice that cannot be drafted is put off`() async throws {
        try await ClosingStory.run { server in
            try await server.close()
            try await server.endSubscription(at: "2026-11-15T00:00:00Z")
            try await Self.refuse("INSERT ON invoice", "22003", server)
            let before = try await server.invoices()
            #expect(try await server.close().failed == 1)
            try await Self.isLeftAlone(server)
            try await server.database.run("DROP TRIGGER refusal ON invoice")
            try server.set("2026-11-15T01:00:00Z")
            // As of the time at which it failed.
            let progress = try await server.withPool { pool in
                try await server.closing(pool).run(asOf: try Instant(parsing: "2026-11-15T00:00:00Z"), waits: true)
            }
            #expect(progress.drafted == 1)
            #expect(try await server.invoices().count == before.count + 1)
        }
    }

    @Test func `where a whole batch fails those behind it are not kept back`() async throws {
        try await ClosingStory.run { server in
            // Of one part of all tenants, and due before those of others.
            try await server.database.run(
                """
                INSERT INTO subscription (tenant_id, subscription_id, plan_version_id, timezone, anchor, starts_at,
                    ends_at, created_at, updated_at, revision)
                SELECT tenant_id, gen_random_uuid(), plan_version_id, timezone, day, day, day + interval '1 day',
                    created_at, updated_at, revision
                FROM subscription, generate_series('2020-01-01Z', '2021-12-31Z', interval '1 day') AS day
                """
            )
            try await Self.addOthers(server)
            try await Self.refuse("INSERT ON invoice", "22003", server)
            #expect(try await server.close().failed >= 1)
            for other in Self.others {
                #expect(try await server.invoices(other) == ["opening 0 finalized 10.00: fee base 10.00"])
            }
        }
    }

    @Test func `what is put off is told until it is done, with when it is tried again`() async throws {
        try await ClosingStory.run { server in
            try await Self.addOthers(server)
            try await Self.refuse("INSERT ON invoice", "22003", server)
            try await server.close(graceHours: 1)
            let undrafted = try await Self.putOff(server)
            #expect(undrafted.subscriptions == 1)
            #expect(undrafted.drafts == 0, "drafts of others wait their grace")
            #expect(undrafted.triedAt?.description.hasPrefix("2026-11-01T01:00:00") == true)

            try await server.database.run("DROP TRIGGER refusal ON invoice; DROP FUNCTION refuse")
            try await Self.refuse("INSERT ON invoice_line", "22003", server)
            try server.set("2026-11-01T01:00:00Z")
            try await server.close()
            let unfinalized = try await Self.putOff(server)
            #expect(unfinalized.subscriptions == 0 && unfinalized.drafts == 1)
            #expect(unfinalized.triedAt?.description.hasPrefix("2026-11-01T02:00:00") == true)

            try await server.database.run("DROP TRIGGER refusal ON invoice_line")
            try server.set("2026-11-01T02:00:00Z")
            try await server.close()
            let nothing = try await Self.putOff(server)
            #expect(nothing.isEmpty && nothing.subscriptions == 0 && nothing.drafts == 0)
        }
    }

    @Test func `a service counts what is put off`() async throws {
        try await ClosingStory.run { server in
            try await Self.refuse("INSERT ON invoice", "22003", server)
            try await server.withPool { pool in
                let worker = InvoiceClosingWorker(
                    closing: server.closing(pool),
                    clock: server.clock.clock,
                    interval: .milliseconds(10),
                    logger: .silent
                )
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await worker.run() }
                    // Other servers of this process have nothing to count, and say so at their start.
                    let isCounted = try await eventually {
                        try await server.counterValue(#"turnpike_invoices_put_off{step="draft"}"#) == 1
                    }
                    #expect(isCounted)
                    group.cancelAll()
                }
            }
        }
    }

    private static func putOff(_ server: TestServer) async throws -> InvoiceClosing.PutOff {
        try await server.withPool { pool in try await server.closing(pool).putOff() }
    }

    /// Closing fails at nothing, and goes in batches again.
    private static func isLeftAlone(_ server: TestServer) async throws {
        let log = TestLog()
        try await close(server, log)
        #expect(log.text == "")
    }

    /// Some are of the same part of all tenants as the first.
    private static let others = ["b", "c", "d"]

    private static func addOthers(_ server: TestServer, at start: String = "2026-11-01T00:00:00Z") async throws {
        for other in others {
            try await server.addTenant(other, currency: "USD", zone: "UTC")
            try await server.subscribe(other, at: start)
        }
    }

    /// Lets a statement on rows of the first tenant fail with a SQLSTATE.
    private static func refuse(_ what: String, _ state: String, _ server: TestServer) async throws {
        try await server.database.run(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '\(state)'; END
            $$;
            CREATE TRIGGER refusal BEFORE \(what) FOR EACH ROW WHEN (NEW.tenant_id = 1) EXECUTE FUNCTION refuse()
            """
        )
    }

    private static func close(_ server: TestServer, _ log: TestLog) async throws {
        try await server.withPool { pool in
            let closing = server.closing(pool).telling(log.logger(level: .warning))
            _ = try await closing.run(asOf: server.clock.now, waits: true)
        }
    }
}
