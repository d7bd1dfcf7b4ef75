import BillingCore
import Postgres
import TestSupport
import Testing
import Web

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
                                let states = try await reader.states(of: [Self.row(tenant)], for: TenantID(tenant))
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

    @Test func oneTenantLeavesRoomForOthersWhoWait() async throws {
        try await TestServer.run { server in
            try await Self.use(1...3, on: server)
            try await server.withPool { pool in
                let reader = LimitStateReader(pool: pool, room: QueueLoad(count: 8, size: 1_000))
                let outcomes = try await withThrowingTaskGroup(of: (Int64, Bool).self) { group in
                    @Sendable func read(_ tenant: Int64) async throws -> (Int64, Bool) {
                        do {
                            let states = try await reader.states(of: [Self.row(tenant)], for: TenantID(tenant))
                            return (tenant, states[Self.row(tenant)]?.balance.used == FixedDecimal(tenant))
                        } catch let problem as Problem {
                            #expect(problem.code == "overloaded")
                            return (tenant, false)
                        }
                    }
                    try await server.whileLocked("limit_state") {
                        group.addTask { try await read(1) }
                        let isReading = try await server.comesToWait(for: "AccessShareLock", on: "limit_state")
                        #expect(isReading)
                        // The first four wait, the others are sent away at once.
                        for _ in 0..<10 { group.addTask { try await read(2) } }
                        for _ in 0..<6 {
                            let next = try await group.next()
                            #expect(next ?? (0, true) == (2, false))
                        }
                        group.addTask { try await read(3) }
                    }
                    return try await group.reduce(into: [:]) { $0[$1.0, default: []] += [$1.1] }
                }
                #expect(outcomes == [1: [true], 2: [true, true, true, true], 3: [true]])
            }
        }
    }

    @Test func whoWaitsIsToldOfAFailureAndTheNextReadAgain() async throws {
        try await TestServer.run { server in
            try await Self.use(1...20, on: server)
            try await server.withPool { pool in
                let reader = LimitStateReader(pool: pool, largest: QueueLoad(count: 2, size: 2))
                try await server.database.run("ALTER TABLE limit_state RENAME TO elsewhere")
                let failures = await withTaskGroup(of: Bool.self) { group in
                    for tenant in 1...20 as ClosedRange<Int64> {
                        group.addTask {
                            let states = try? await reader.states(of: [Self.row(tenant)], for: TenantID(tenant))
                            return states == nil
                        }
                    }
                    return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
                }
                #expect(failures == 20)
                try await server.database.run("ALTER TABLE elsewhere RENAME TO limit_state")
                let states = try await reader.states(of: [Self.row(7)], for: TenantID(7))
                #expect(states[Self.row(7)]?.balance.used == FixedDecimal(7))
            }
        }
    }

    @Test func whoIsCalledOffWhileHeReadsTakesNobodyAlong() async throws {
        try await TestServer.run { server in
            try await Self.use(1...20, on: server)
            try await server.withPool { pool in
                let reader = LimitStateReader(pool: pool)
                let used = try await withThrowingTaskGroup(of: FixedDecimal?.self) { group in
                    try await server.whileLocked("limit_state") {
                        let first = Task { try await reader.states(of: [Self.row(1)], for: TenantID(1)) }
                        let isReading = try await server.comesToWait(for: "AccessShareLock", on: "limit_state")
                        #expect(isReading)
                        for tenant in 2...20 as ClosedRange<Int64> {
                            group.addTask {
                                try await reader.states(of: [Self.row(tenant)], for: TenantID(tenant))[
                                    Self.row(tenant)
                                ]?
                                .balance.used
                            }
                        }
                        first.cancel()
                        await #expect(throws: (any Error).self) { try await first.value }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(Set(used) == Set((2...20).map { FixedDecimal($0) }))
            }
        }
    }
}
