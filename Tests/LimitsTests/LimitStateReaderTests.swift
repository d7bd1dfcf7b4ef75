import BillingCore
import Postgres
import TestSupport
import Testing

@testable import Limits

/// Rows of limits that many read at once.
@Suite struct LimitStateReaderTests {
    private static func row(_ tenant: Int64) -> LimitRow {
        LimitRow(tenant: TenantID(tenant), limit: LimitID(1), windowStart: Instant(microseconds: 0))
    }

    private static func use(_ tenants: ClosedRange<Int>, on server: TestServer) async throws {
        try await server.database.run(
            """
            INSERT INTO limit_state (
                tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
                limit_revision
            )
            SELECT tenant, 1, '', timestamptz 'epoch', timestamptz '2100-01-01', tenant, 0, 0, 1000, 1
            FROM generate_series(\(tenants.lowerBound), \(tenants.upperBound)) AS tenant
            """
        )
    }

    @Test func whoAsksMeanwhileIsServedByTheNextStatementWithHisOwnRows() async throws {
        try await TestServer.run { server in
            try await Self.use(1...49, on: server)
            try await server.withPool { pool in
                let reader = LimitStateReader(pool: pool)
                let before = pool.statistics(of: .interactive).leases
                let used = try await withThrowingTaskGroup(of: (Int64, FixedDecimal?).self) { group in
                    try await server.whileLocked("limit_state") {
                        for tenant in 1...50 as ClosedRange<Int64> {
                            group.addTask {
                                let states = try await reader.states(of: [Self.row(tenant)])
                                #expect(states.count == (tenant == 50 ? 0 : 1))
                                return (tenant, states[Self.row(tenant)]?.balance.used)
                            }
                        }
                        let isReading = try await server.comesToWait(for: "AccessShareLock", on: "limit_state")
                        #expect(isReading)
                    }
                    return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
                }
                let expected = Dictionary(uniqueKeysWithValues: (1...49).map { (Int64($0), FixedDecimal($0)) })
                #expect(used == expected)
                #expect(pool.statistics(of: .interactive).leases - before < 25)
            }
        }
    }
}
