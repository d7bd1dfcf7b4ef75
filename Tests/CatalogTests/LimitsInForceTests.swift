import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Catalog

@Suite struct LimitsInForceTests {
    struct Row: Hashable, Sendable {
        let id: Int64
        let window: String
        let amount: String
        let revision: Int64
        let isActive: Bool
    }

    private static func limits(_ server: TestServer) async throws -> [Row] {
        let pool = PostgresPool(PostgresConfiguration(url: server.database.url), logger: .silent)
        let rows = try await pool.query(
            .worker,
            "SELECT limit_id, window_kind, amount, revision, active FROM usage_limit ORDER BY limit_id"
        ) { row throws(PostgresError) in
            Row(
                id: try row.next(),
                window: try row.next(),
                amount: try row.next(FixedDecimal.self).description,
                revision: try row.next(),
                isActive: try row.next()
            )
        }
        await pool.close()
        return rows
    }

    private static func subscribe(_ server: TestServer, version: Int, start: String? = nil) async throws -> String {
        let startsAt = start.map { #","starts_at":"\#($0)""# } ?? ""
        let body = #"{"tenant":"acme","plan":"pro","version":\#(version)\#(startsAt)}"#
        let made = try await server.expect(201, "POST", "/subscriptions", body)
        return try #require(made.json["id"]?.string)
    }

    @Test func aQuotaKeepsItsIdentityOverResubscription() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "100")
            try await server.publish(limit: "250", version: 2)
            try await server.publish(limit: "9", window: "day", version: 3)
            let first = try await Self.subscribe(server, version: 1)
            let before = try await Self.limits(server)
            #expect(before.map(\.amount) == ["100"])
            #expect(before.map(\.revision) == [1])
            _ = try await server.expect(200, "POST", "/subscriptions/\(first)/cancel")
            #expect(try await Self.limits(server).map(\.isActive) == [false])
            let second = try await Self.subscribe(server, version: 2)
            let kept = try await Self.limits(server)
            #expect(kept.map(\.id) == before.map(\.id))
            #expect(kept.map(\.amount) == ["250"])
            #expect(kept.map(\.isActive) == [true])
            #expect(kept.map(\.revision) == [3])
            _ = try await server.expect(200, "POST", "/subscriptions/\(second)/cancel")
            _ = try await Self.subscribe(server, version: 3)
            let changed = try await Self.limits(server)
            #expect(changed.map(\.window) == ["billing_period", "day"])
            #expect(changed.map(\.isActive) == [false, true])
        }
    }

    @Test func aScheduledChangeTakesForceWhenItsTimeComes() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "100")
            try await server.publish(limit: "250", version: 2)
            let first = try await Self.subscribe(server, version: 1)
            _ = try await server.expect(
                200,
                "POST",
                "/subscriptions/\(first)/cancel",
                #"{"at":"2026-12-01T00:00:00Z"}"#
            )
            _ = try await Self.subscribe(server, version: 2, start: "2026-12-01T00:00:00Z")
            #expect(try await Self.limits(server).map(\.amount) == ["100"])
            #expect(try await Self.limits(server).map(\.revision) == [1])
            server.clock.set(try Instant(parsing: "2026-12-01T00:00:00Z"))
            #expect(try await eventually { try await Self.limits(server).map(\.amount) == ["250"] })
            #expect(try await Self.limits(server).map(\.isActive) == [true])
        }
    }

    /// More than the worker takes at a time, all due before the one tenant with which nothing is wrong.
    @Test func tenantsThatFailKeepNoOtherWaiting() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(251)
            try await fixture.subscribeEverybody()
            try await fixture.database.run(
                """
                UPDATE subscription SET limits_due_at = starts_at + tenant_id * interval '1 second';
                UPDATE subscription_segment SET overrides = '{"bogus":1}' WHERE tenant_id <= 250
                """
            )
            try await fixture.catalog.reload()
            let worker = LimitsInForceWorker(
                pool: fixture.pool,
                catalog: fixture.catalog,
                usage: StoredUsageAccess(rate: { _, _ in }, latest: { _, _, _ in nil }),
                clock: fixture.clock.clock,
                logger: .silent
            )
            #expect(try await worker.applyDue() == 1)
            let due = try await fixture.pool.query(
                .worker,
                "SELECT count(*) FROM subscription WHERE limits_due_at IS NOT NULL"
            ) { row throws(PostgresError) in try row.next(Int64.self) }
            #expect(due == [250])
        }
    }

    @Test func limitsEndWithTheSubscription() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "100")
            let id = try await Self.subscribe(server, version: 1)
            _ = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel", #"{"at":"period_end"}"#)
            #expect(try await Self.limits(server).map(\.isActive) == [true])
            server.clock.set(try Instant(parsing: "2026-12-23T08:00:00Z"))
            #expect(try await eventually { try await Self.limits(server).map(\.isActive) == [false] })
        }
    }
}
