import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Invoicing

@Suite(.timeLimit(.minutes(15)))
struct ClosingTests {
    @Test func `opening at the start, then each period with the next fees in advance`() async throws {
        try await ClosingStory.run { server in
            try await server.close()
            #expect(try await server.invoices() == ["opening 0 finalized 10.00: fee base 10.00"])
            try await server.ingest(SentEvent("1", data: #"{"seconds":7}"#))
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            #expect(
                try await server.invoices() == [
                    "opening 0 finalized 10.00: fee base 10.00",
                    "regular 0 finalized 20.00: fee care 3.00, fee base 10.00, usage seconds 7.00",
                    "regular 1 finalized 13.00: fee care 3.00, fee base 10.00, usage seconds 0.00",
                ]
            )
            let numbers = try await server.column("SELECT number FROM invoice_document ORDER BY sequence")
            #expect(numbers == ["INV-00000001", "INV-00000002", "INV-00000003"])
            #expect(try await server.close().finalized == 0)
        }
    }

    @Test func `a draft waits for its grace and takes the usage that comes meanwhile`() async throws {
        try await ClosingStory.run { server in
            try await server.close(graceHours: 24)
            #expect(try await server.invoices() == ["opening 0 draft"])
            try server.set("2026-12-01T00:00:00Z")
            try await server.close(graceHours: 24)
            try server.set("2026-12-01T23:59:59Z")
            try await server.close(graceHours: 24)
            try await server.ingest(SentEvent("1", time: "2026-11-30T12:00:00Z", data: #"{"seconds":5}"#))
            #expect(try await server.invoices().last == "regular 0 draft")
            try server.set("2026-12-02T00:00:00Z")
            try await server.close(graceHours: 24)
            #expect(
                try await server.invoices().last
                    == "regular 0 finalized 18.00: fee care 3.00, fee base 10.00, usage seconds 5.00"
            )
        }
    }

    @Test func `what is drafted late has all of its grace, and is then finalised in the order of its periods`()
        async throws
    {
        try await ClosingStory.run { server in
            try server.set("2027-02-10T00:00:00Z")
            let first = try await server.close(graceHours: 24)
            #expect(first.drafted == 4 && first.finalized == 0)
            #expect(try await server.finalAt() == Array(repeating: "2027-02-11T00:00:00Z", count: 4))
            try server.set("2027-02-10T23:59:59Z")
            #expect(try await server.close(graceHours: 24).finalized == 0)
            try server.set("2027-02-11T00:00:00Z")
            #expect(try await server.close(graceHours: 24).finalized == 4)
            #expect(
                try await server.invoices().map { $0.prefix(9) } == [
                    "opening 0", "regular 0", "regular 1", "regular 2",
                ]
            )
        }
    }

    @Test func `a run as of an earlier time leaves what it drafts its grace, and without grace finalises at once`()
        async throws
    {
        try await ClosingStory.run { server in
            try server.set("2026-12-10T00:00:00Z")
            let asOf = try Instant(parsing: "2026-11-15T00:00:00Z")
            try await server.close(graceHours: 24, asOf: asOf)
            #expect(try await server.invoices() == ["opening 0 draft"])
            #expect(try await server.finalAt() == ["2026-12-11T00:00:00Z"])
            try await server.addTenant("beta")
            try await server.subscribe("beta", at: "2026-11-10T00:00:00Z")
            try await server.close(graceHours: 0, asOf: asOf)
            #expect(try await server.invoices("beta") == ["opening 0 finalized 10.00: fee base 10.00"])
        }
    }

    @Test func `adjustments and reissues have their grace too, unless somebody finalises them`() async throws {
        try await ClosingStory.run { server in
            try await server.close()
            let opening = try #require(try await server.ask("GET", "/invoices")["data"]?[0]?["id"]?.string)
            try server.set("2026-11-05T00:00:00Z")
            try await server.ask("POST", "/invoices/\(opening)/void")
            try await server.ask("POST", "/invoices/\(opening)/reissue", expecting: 201)
            #expect(try await server.close(graceHours: 24).finalized == 0)
            #expect(try await server.finalAt() == ["2026-11-06T00:00:00Z"])
            try server.set("2026-11-06T00:00:00Z")
            #expect(try await server.close(graceHours: 24).finalized == 1)
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-11-16T00:00:00Z"}"#)
            try server.set("2026-11-16T00:00:00Z")
            try await server.close()
            try server.set("2026-11-20T00:00:00Z")
            try await server.ingest(SentEvent("1", time: "2026-11-10T00:00:00Z", data: #"{"seconds":4}"#))
            #expect(try await server.close(graceHours: 24).finalized == 0)
            #expect(try await server.invoices().last == "adjustment 0 draft")
            #expect(try await server.finalAt() == ["2026-11-21T00:00:00Z"])
            let draft = try await server.ask("GET", "/invoices?status=draft")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/invoices/\(draft)/finalize")
            #expect(try await server.invoices().last == "adjustment 0 finalized 4.00: adjustment seconds 4.00")
        }
    }

    @Test func `whose last invoice is drafted is not resumed by a replica whose clock is behind`() async throws {
        try await ClosingStory.run { server in
            try await server.endSubscription(at: "2026-11-16T00:00:00Z")
            try await server.close(graceHours: 24)
            try server.set("2026-11-15T23:59:59Z")
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            for (action, body) in [
                ("resume", ""), ("cancel", #"{"at":"2026-12-01T00:00:00Z"}"#), ("change", #"{"plan":"pro"}"#),
            ] {
                let refused = try await server.operatorClient.post("/api/v1/subscriptions/\(id)/\(action)", body)
                #expect(refused.status == 409 && refused.code == "subscription_ended", "\(action)")
            }
        }
    }

    @Test func `an invoice names the plan that was in force, not one that was to come after the end`() async throws {
        try await ClosingStory.run { server in
            try await server.ask("POST", "/plans", #"{"key":"max","name":"Max","currency":"USD"}"#, expecting: 201)
            try await server.ask("POST", "/plans/max/versions", ClosingStory.plan, expecting: 201)
            try await server.ask("POST", "/plans/max/versions/1/publish")
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"max","at":"2026-11-20T00:00:00Z"}"#)
            try await server.close()
            try await server.endSubscription(at: "2026-11-16T00:00:00Z")
            try await server.close()
            let invoices = try await server.ask("GET", "/invoices")["data"]?.elements ?? []
            #expect(invoices.map { $0["plan"]?.string } == ["pro", "pro"])
        }
    }

    @Test func `late usage is an adjustment on the next regular invoice`() async throws {
        try await ClosingStory.run { server in
            try await server.ingest(SentEvent("1", data: #"{"seconds":7}"#))
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            try await server.ingest(SentEvent("2", time: "2026-11-20T00:00:00Z", data: #"{"seconds":4}"#))
            _ = try await server.void("1")
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            #expect(
                try await server.invoices().last
                    == "regular 1 finalized 10.00: fee care 3.00, fee base 10.00, usage seconds 0.00, "
                    + "adjustment seconds -3.00"
            )
            try server.set("2027-02-01T00:00:00Z")
            try await server.close()
            #expect(
                try await server.invoices().last
                    == "regular 2 finalized 13.00: fee care 3.00, fee base 10.00, usage seconds 0.00"
            )
        }
    }

    @Test func `usage that is replayed when its period is closed is an adjustment, however long ago it came`()
        async throws
    {
        try await ClosingStory.run { server in
            _ = try await server.post([SentEvent("1", subject: "later", data: #"{"seconds":9}"#)])
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            try server.set("2026-12-05T00:00:00Z")
            try await server.ask("PATCH", "/tenants/acme", #"{"subjects":["later"]}"#)
            try await server.ask("POST", "/unmatched-events/replay", "{}")
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            let last = try await server.invoices().last
            #expect(last?.hasPrefix("regular 1 finalized") == true && last?.contains("adjustment seconds") == true)
        }
    }

    @Test func `usage that no feature counted is an adjustment where it is replayed when its period is closed`()
        async throws
    {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            _ = try await server.post([SentEvent("1", data: #"{"seconds":9}"#)])
            try await server.addFeature("seconds")
            try await server.publish(ClosingStory.plan)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            #expect(try await server.invoices().last?.contains("usage seconds 0.00") == true)
            try server.set("2026-12-05T00:00:00Z")
            try await server.ask("POST", "/unmetered-events/replay", #"{"type":"job.done"}"#)
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            let last = try await server.invoices().last
            #expect(last?.hasPrefix("regular 1 finalized") == true && last?.contains("adjustment seconds 9.00") == true)
        }
    }

    @Test func `a subscription that ended gets its last regular invoice, then adjustments of their own`() async throws {
        try await ClosingStory.run { server in
            try await server.close()
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-11-16T00:00:00Z"}"#)
            try server.set("2026-11-16T00:00:00Z")
            try await server.close()
            // Half of the fee in advance is given back, which is more than half of the one in arrears.
            #expect(
                try await server.invoices().last
                    == "regular 0 paid 0.00: fee care 1.50, usage seconds 0.00, adjustment base -5.00"
            )
            let owed = try await server.column("SELECT round(remaining, 2)::text || ' ' || kind FROM credit_grant")
            #expect(owed == ["3.50 prepaid"])
            try await server.ingest(SentEvent("1", time: "2026-11-10T00:00:00Z", data: #"{"seconds":4}"#))
            try await server.close()
            #expect(try await server.invoices().last == "adjustment 0 finalized 4.00: adjustment seconds 4.00")
            #expect(try await server.column("SELECT round(amount_due, 2)::text FROM invoice_document").last == "0.50")
            try server.set("2027-03-01T00:00:00Z")
            #expect(try await server.close().finalized == 0)
        }
    }

    @Test func `a subscription that ends before a period it was charged for in advance gets that back`() async throws {
        try await ClosingStory.run { server in
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-12-01T00:00:00Z"}"#)
            try await server.close()
            #expect(try await server.invoices().last == "adjustment 1 paid 0.00: adjustment base -10.00")
        }
    }

    @Test func `late usage of an earlier period leaves the last one of an ended subscription alone`() async throws {
        try await ClosingStory.run { server in
            try await server.endInSecondPeriod()
            let last = try #require(try await server.invoices().last)
            #expect(last.hasPrefix("regular 1") && last.contains("usage seconds 5.00"), "\(last)")
            try await server.ingest(SentEvent("late", time: "2026-11-20T00:00:00Z", data: #"{"seconds":4}"#))
            try await server.close()
            #expect(try await server.invoices().last == "adjustment 0 finalized 4.00: adjustment seconds 4.00")
        }
    }

    @Test func `subscriptions with a draft of an adjustment do not keep a later one waiting`() async throws {
        try await ClosingStory.run { server in
            try await server.addTenant("beta")
            try await server.subscribe("beta", at: "2026-11-01T00:00:00Z")
            for subscription in try await server.ask("GET", "/subscriptions")["data"]?.elements ?? [] {
                let id = subscription["id"]?.string ?? ""
                try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-11-16T00:00:00Z"}"#)
            }
            try server.set("2026-11-16T00:00:00Z")
            try await server.close()
            for tenant in ["acme", "beta"] {
                try await server.ingest(SentEvent("1", subject: tenant, time: "2026-11-10T00:00:00Z"))
            }
            let drafting = InvoiceDrafting(
                now: server.clock.now,
                finalAt: server.clock.now,
                ids: .random(server.clock.clock)
            )
            let awaiting = InvoiceAwaiting.statement(now: server.clock.now, 0, of: 1, limit: 1)
            var drafted: [Int] = []
            try await server.withPool { pool in
                for _ in 1...3 {
                    drafted.append(
                        try await pool.transaction(.worker) { transaction in
                            try drafting.adjustments(awaiting, in: transaction)
                        }
                    )
                }
            }
            #expect(drafted == [1, 1, 0])
        }
    }

    @Test(arguments: [("2026", "28"), ("2027", "29")])
    func `a subscription from 31 January bills the end of February and 31 March`(_ year: String, _ day: String)
        async throws
    {
        let year = year == "2027" ? "2028" : "2027"
        try await ClosingStory.run(start: "\(year)-01-31T00:00:00Z") { server in
            for time in ["02-\(day)", "03-31", "04-30"] {
                try server.set("\(year)-\(time)T00:00:00Z")
                try await server.close()
            }
            let periods = try await server.column(
                """
                SELECT to_char(period_start AT TIME ZONE 'UTC', 'MM-DD') || ' '
                    || to_char(period_end AT TIME ZONE 'UTC', 'MM-DD')
                FROM invoice WHERE kind = 'regular' ORDER BY period_index
                """
            )
            #expect(periods == ["01-31 02-\(day)", "02-\(day) 03-31", "03-31 04-30"])
        }
    }

    @Test func `a period over a change of clocks bills every second once`() async throws {
        try await ClosingStory.run(start: "2026-10-14T22:00:00Z", zone: "Europe/Berlin") { server in
            // The clocks go back on 25 October: the hour from 2 to 3 is there twice.
            for (index, time) in [
                "2026-10-24T23:59:59Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-11-14T22:59:59.999999Z",
                "2026-11-14T23:00:00Z",
            ].enumerated() {
                try server.set("2026-11-14T23:00:00Z")
                try await server.ingest(SentEvent("\(index)", time: time))
            }
            try await server.close()
            try server.set("2026-12-14T23:00:00Z")
            try await server.close()
            let regular = try await server.invoices().filter { $0.hasPrefix("regular") }
            #expect(regular.map { $0.split(separator: " ").last } == ["4.00", "1.00"])
            let seconds = try await server.column(
                """
                SELECT extract(epoch FROM period_end - period_start)::bigint::text
                FROM invoice WHERE kind = 'regular' ORDER BY 1
                """
            )
            #expect(seconds == ["2592000", "2682000"])
        }
    }

    @Test func `a month that was missed is closed in order, period by period`() async throws {
        try await ClosingStory.run { server in
            try server.set("2027-02-01T00:00:00Z")
            let done = try await server.close()
            #expect(done.finalized == 4)
            #expect(
                try await server.invoices().map { $0.prefix(9) } == [
                    "opening 0", "regular 0", "regular 1", "regular 2",
                ]
            )
            #expect(try await server.invoices().allSatisfy { !$0.contains("adjustment") })
        }
    }
}
