import Foundation
import Postgres

/// What PostgreSQL itself does for admissions: the row of a reservation with what it holds, and the hold added to two
/// limits, for sixteen calls of different tenants a transaction, on two connections. The service adds the reading of
/// versions, and what makes a limit that is reached fail the transaction.
enum AdmissionBaseline {
    private static let batch = 16
    /// About as many as the service decides together when 5,000 a second are offered.
    private static let offeredBatch = 4

    /// - Parameter tenants: how many there are; their ids count from one.
    static func reservationsPerSecond(_ url: String, tenants: Int, seconds: Double) async throws -> Double {
        var configuration = PostgresConfiguration(url: url)
        configuration.admission = PostgresLaneLimits(connections: 2, waiting: 2)
        let pool = PostgresPool(configuration)
        let start = Date()
        let deadline = start.addingTimeInterval(seconds)
        let total = try await withThrowingTaskGroup(of: Int.self) { group in
            for connection in 0..<2 {
                group.addTask {
                    var calls = 0
                    while Date() < deadline {
                        let first = Int64(connection) << 40 | Int64(calls)
                        try await pool.transaction(.admission) { transaction in
                            try reserve(
                                batch,
                                first: first,
                                lane: Int64(connection),
                                tenants: Int64(tenants),
                                in: transaction
                            )
                        }
                        calls += batch
                    }
                    return calls
                }
            }
            return try await group.reduce(0, +)
        }
        await pool.close()
        return Double(total) / Date().timeIntervalSince(start)
    }

    /// How long such transactions take on one connection when so many calls a second are offered, however long they
    /// take: what comes late because others were slow counts from when it was due.
    /// - Parameter run: tells the calls of several runs apart.
    static func latencies(
        _ url: String,
        tenants: Int,
        run: Int,
        perSecond: Int,
        seconds: Double
    ) async throws -> LoadResult {
        var configuration = PostgresConfiguration(url: url)
        configuration.admission = PostgresLaneLimits(connections: 1, waiting: 1)
        let pool = PostgresPool(configuration)
        let pace = Duration.seconds(1) * offeredBatch / perSecond
        var result = LoadResult()
        // The connection is made, and statements are planned, before anything is due.
        try await pool.transaction(.admission) { transaction in
            try reserve(offeredBatch, first: Int64(run + 11) << 50, lane: 0, tenants: Int64(tenants), in: transaction)
        }
        let start = ContinuousClock.now
        var due = start
        while due < start + .seconds(seconds) {
            try await Task.sleep(until: due, tolerance: .zero)
            let first = Int64(run + 1) << 50 | Int64(result.requests)
            try await pool.transaction(.admission) { transaction in
                try reserve(offeredBatch, first: first, lane: 0, tenants: Int64(tenants), in: transaction)
            }
            let took = Int((ContinuousClock.now - due) / .microseconds(1))
            result.latenciesMicroseconds += Array(repeating: took, count: offeredBatch)
            result.requests += offeredBatch
            due += pace
        }
        result.seconds = (ContinuousClock.now - start) / .seconds(1)
        await pool.close()
        return result
    }

    /// Rows of the measured tenants under limits that the service does not have; the two connections share none.
    private static func reserve(
        _ batch: Int,
        first: Int64,
        lane: Int64,
        tenants: Int64,
        in transaction: borrowing Transaction
    ) throws {
        let numbers = (0..<Int64(batch)).map { first + $0 }
        let owners = numbers.map { 2 * ($0 % (tenants / 2)) + 1 + lane }
        let keys = numbers.map { PostgresUUID(high: UInt64($0) &* 0x9E37_79B9_7F4A_7C15, low: UInt64($0)) }
        let now = PostgresTimestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000))
        let holders = owners + owners
        let limits = owners.map { _ in Int64(-1) } + owners.map { _ in Int64(-2) }
        transaction.enqueue(
            """
            INSERT INTO limit_state AS state (
                tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
                limit_revision
            )
            SELECT tenant_id, limit_id, '', '2000-01-01', '2100-01-01', 0, count(*), 0, 1000000000, 1
            FROM unnest(\(holders)::bigint[], \(limits)::bigint[]) AS added (tenant_id, limit_id)
            GROUP BY tenant_id, limit_id
            ORDER BY tenant_id, limit_id
            ON CONFLICT ON CONSTRAINT limit_state_pk DO UPDATE SET held = state.held + excluded.held
            """
        )
        let holds = owners.map { "[[\($0),-1,\"\",\"2000-01-01\",\"1\"],[\($0),-2,\"\",\"2000-01-01\",\"1\"]]" }
        transaction.enqueue(
            """
            INSERT INTO reservation (
                tenant_id, reservation_id, admission_key, content_hash, source, admission_id, event_type, subject,
                status, created_at, expires_at, suspense_ends_at, max_output_tokens, holds
            )
            SELECT unnest(\(owners)::bigint[]), unnest(\(keys)::uuid[]), unnest(\(keys)::uuid[]), 1, 'gateway-eu-1',
                'req-0000000000000000', 'llm.completion', 'tenant-000042', 'held', \(now), timestamptz '2100-01-01',
                timestamptz '2100-01-01', 300, unnest(\(holds)::text[])::jsonb
            """
        )
    }
}
