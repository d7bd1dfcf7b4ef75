import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Usage

/// `verify` finds whatever the raw events do not bear out, and says it in words.
@Suite struct UsageVerificationTests {
    private static let plan = """
        {"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"0.5"}}],
         "quotas":[{"feature":"seconds","limit":"100","window":"day"}]}
        """

    private static func arrange(_ server: TestServer) async throws {
        try await server.addTenant("acme")
        try await server.addTenant("beta")
        try await server.addFeature("seconds")
        try await server.addFeature("workers", "unique_count", of: "worker")
        try await server.addFeature("level", "latest", of: "seconds")
        try await server.publish(plan)
        try await server.subscribe(at: "2026-11-01T00:00:00Z")
        try await server.subscribe("beta", at: "2026-11-01T00:00:00Z")
        for tenant in ["acme", "beta"] {
            try await server.ingest(
                SentEvent("1", subject: tenant, data: #"{"seconds":3,"worker":"x"}"#),
                SentEvent("2", subject: tenant, data: #"{"seconds":4,"worker":"y"}"#),
                SentEvent("3", subject: tenant, data: #"{"seconds":5,"worker":"y"}"#)
            )
        }
        _ = try await server.void("3")
    }

    /// A change of one of acme's rows, and what is then found.
    private static let planted: [(change: String, found: [String])] = [
        (
            "UPDATE usage_counter SET quantity = 8 WHERE feature_id = 1",
            ["counter seconds, period 1: quantity is 8, its events give 7"]
        ),
        (
            "UPDATE limit_state SET held = 3",
            ["limit 1, window from 2026-11-23 00:00:00+00: held is 3, its reservations give 0"]
        ),
        (
            "UPDATE usage_counter SET charge = 1 WHERE feature_id = 1",
            ["counter seconds, period 1: charge is 1, its events give 3.5"]
        ),
        (
            "UPDATE usage_counter SET event_count = 9 WHERE feature_id = 1",
            ["counter seconds, period 1: event count is 9, its events give 2"]
        ),
        (
            "UPDATE usage_counter SET cost = 2 WHERE feature_id = 1",
            ["counter seconds, period 1: provider cost is 2, its events give 0"]
        ),
        (
            "UPDATE usage_counter SET uncosted_quantity = 2, uncosted_events = 1 WHERE feature_id = 1",
            [
                "counter seconds, period 1: events without a cost is 1, its events give 0",
                "counter seconds, period 1: quantity without a cost is 2, its events give 0",
            ]
        ),
        (
            "UPDATE usage_counter SET ledger_seq = 3 WHERE feature_id = 2",
            ["counter workers, period 1: ledger sequence is 3, its events give 4"]
        ),
        (
            "UPDATE usage_counter SET winner_id = '1' WHERE feature_id = 3",
            ["counter level, period 1: winner is 1, its events give 2"]
        ),
        (
            "DELETE FROM usage_counter WHERE feature_id = 1",
            [
                "counter seconds, period 1: quantity is 0, its events give 7",
                "counter seconds, period 1: event count is 0, its events give 2",
                "counter seconds, period 1: charge is 0, its events give 3.5",
            ]
        ),
        (
            "UPDATE limit_state SET used = used + 1",
            ["limit 1, window from 2026-11-23T00:00:00.000000Z: used is 8, its events give 7"]
        ),
        ("DELETE FROM limit_state", ["limit 1, window from 2026-11-23T00:00:00.000000Z: used is 0, its events give 7"]),
        (
            "UPDATE usage_distinct SET reference_count = reference_count + 1 WHERE reference_count > 0",
            ["counter workers, period 1: references of distinct values is 4, its events give 2"]
        ),
        (
            "UPDATE usage_distinct SET reference_count = 0 WHERE tenant_id = 1 AND reference_count > 0",
            [
                "counter workers, period 1: distinct values is 0, its events give 2",
                "counter workers, period 1: references of distinct values is 0, its events give 2",
            ]
        ),
        (
            "DELETE FROM usage_distinct",
            [
                "counter workers, period 1: distinct values is 0, its events give 2",
                "counter workers, period 1: references of distinct values is 0, its events give 2",
            ]
        ),
        (
            "DELETE FROM event_dedup WHERE event_key = "
                + "(SELECT min(event_key::text)::uuid FROM event_dedup WHERE tenant_id = 1)",
            ["the number of event keys is 3, its events give 4"]
        ),
        (
            "DELETE FROM usage_event WHERE event_id = '2'",
            [
                "the number of event keys is 4, its events give 3",
                "counter seconds, period 1: quantity is 7, its events give 3",
                "counter seconds, period 1: event count is 2, its events give 1",
                "counter seconds, period 1: charge is 3.5, its events give 1.5",
                "counter workers, period 1: quantity is 2, its events give 1",
                "counter workers, period 1: event count is 2, its events give 1",
                "counter workers, period 1: distinct values is 2, its events give 1",
                "counter workers, period 1: references of distinct values is 2, its events give 1",
                "counter level, period 1: quantity is 4, its events give 3",
                "counter level, period 1: event count is 2, its events give 1",
                "counter level, period 1: winner is 2, its events give 1",
                "limit 1, window from 2026-11-23T00:00:00.000000Z: used is 7, its events give 3",
            ]
        ),
    ]

    @Test func whatIsTrueIsClean() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            #expect(try await server.differences() == [])
        }
    }

    @Test(arguments: planted.indices)
    func eachKindOfDifferenceIsFound(_ index: Int) async throws {
        let (change, found) = Self.planted[index]
        try await TestServer.run { server in
            try await Self.arrange(server)
            let condition = change.contains("WHERE") ? " AND tenant_id = 1" : " WHERE tenant_id = 1"
            try await server.database.run(change + condition)
            #expect(try await server.differences() == found.map { "tenant acme: \($0)" })
        }
    }

    @Test func itCountsWhatItHasSeen() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.database.run("UPDATE usage_counter SET quantity = 8 WHERE feature_id = 1")
            try await server.withPool { pool in
                var reports = 0
                var differences = 0
                let total = try await UsageVerification(pool: pool, clock: server.clock.clock, operatorZone: .utc).run(
                    difference: { _ in differences += 1 },
                    progress: { _ in reports += 1 }
                )
                #expect(total.tenants == 2)
                #expect(total.events == 7)
                #expect(total.differences == 2)
                #expect(differences == 2)
                #expect(reports >= 4)
            }
        }
    }

    @Test func aTenantThatCannotBeReadIsADifferenceAndOthersAreLookedAt() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.database.run("DELETE FROM subscription_segment WHERE tenant_id = 1")
            try await server.withPool { pool in
                var found: [UsageDifference] = []
                let total = try await UsageVerification(pool: pool, clock: server.clock.clock, operatorZone: .utc).run(
                    difference: { found.append($0) },
                    progress: { _ in }
                )
                #expect(total.tenants == 2)
                #expect(found.map(\.subject) == ["all of it"])
                #expect(found.first?.rebuilt.contains("subscription") == true)
            }
        }
    }

    private static let withoutRow =
        "tenant number 2: the row of the tenant itself is missing, its other rows give one"

    /// What is left of a tenant, and what is then found.
    private static let remains: [(kept: String, found: [String])] = [
        ("tenant", ["tenant beta: the row of its ledger is missing, its events give sequence 0"]),
        ("tenant_ledger", [withoutRow]),
        (
            "usage_counter",
            [withoutRow, "tenant number 2: the row of its ledger is missing, its events give sequence 0"]
        ),
        (
            "event_dedup",
            [withoutRow, "tenant number 2: the row of its ledger is missing, its events give sequence 0"]
        ),
        (
            "usage_event",
            [withoutRow, "tenant number 2: the row of its ledger is missing, its events give sequence 3"]
        ),
    ]

    @Test(arguments: remains.indices)
    func aTenantIsFoundByWhateverIsLeftOfIt(_ index: Int) async throws {
        let (kept, expected) = Self.remains[index]
        try await TestServer.run { server in
            try await Self.arrange(server)
            let tables = Self.remains.map(\.kept).filter { $0 != kept } + ["subscription"]
            let removals = tables.map { "DELETE FROM \($0) WHERE tenant_id = 2;" }.joined(separator: " ")
            try await server.database.run("SET session_replication_role = replica; \(removals)")
            let found = try await server.differences()
            #expect(found == expected)
        }
    }

    @Test func aMissingLedgerIsToldOfItsTenantAndLeavesBudgetsOverAllTenantsUntold() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.addTenant("gamma")
            let budget = #"{"key":"all","scope":{},"measure":"requests","amount":"99","window":"month"}"#
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            try await server.ingest(SentEvent("1", subject: "gamma"), SentEvent("2", subject: "gamma"))
            let used = try await server.column("SELECT trim_scale(used)::text FROM limit_state WHERE tenant_id = 0")
            #expect(used == ["2"])
            #expect(try await server.differences() == [])
            try await server.database.run("DELETE FROM tenant_ledger WHERE tenant_id = 3")
            let expected = ["tenant gamma: the row of its ledger is missing, its events give sequence 2"]
            #expect(try await server.differences() == expected)
            try await server.withPool { pool in
                let cases: [(tenant: Int64, found: [String])] = [(1, []), (3, expected)]
                for (tenant, expected) in cases {
                    var found: [String] = []
                    try await UsageVerification(pool: pool, clock: server.clock.clock, operatorZone: .utc).run(
                        tenant: TenantID(tenant),
                        difference: { found.append($0.description) },
                        progress: { _ in }
                    )
                    #expect(found == expected)
                }
            }
        }
    }

    @Test func usageOfEndedPeriodsIsVerifiedToo() async throws {
        try await TestServer.run(clock: TestClock("2026-10-31T12:00:00Z")) { server in
            try await server.addTenant("acme")
            try await server.addFeature("workers", "unique_count", of: "worker")
            try await server.publish("{}")
            try await server.subscribe(at: "2026-10-01T00:00:00Z")
            let both = [SentEvent("1", data: #"{"worker":"x"}"#), SentEvent("2", data: #"{"worker":"x"}"#)]
            try await server.post(both).expecting(200)
            server.clock.advance(seconds: 40 * 86_400)
            try await server.ingest(SentEvent("3", data: #"{"worker":"y"}"#))
            #expect(try await server.differences() == [])
            try await server.database.run("DELETE FROM usage_distinct")
            #expect(try await server.differences().count == 4)
        }
    }
}
