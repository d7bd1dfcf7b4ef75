import Foundation
import Postgres

/// What PostgreSQL itself does for admissions: the row of a reservation with its call and what it holds, and the hold
/// added to two limits, for several calls of different tenants a transaction. The service adds the reading of versions,
/// and what makes a limit that is reached fail the transaction.
enum AdmissionBaseline {
    /// About as many as the service decides together when 5,000 a second are offered.
    private static let offeredBatch = 4

    /// On two connections.
    /// - Parameters:
    ///   - tenants: how many different ones there are.
    ///   - batch: how many calls a transaction has.
    ///   - series: tells the calls of several runs apart.
    static func reservationsPerSecond(
        _ url: String,
        tenants: Int,
        batch: Int,
        series: Int,
        seconds: Double
    ) async throws -> Double {
        let reservations = RawReservations(count: batch, tenants: tenants, series: series)
        return try await RawConnections.perSecond(url, seconds: seconds, batch: batch) { lane, before in
            reservations.statements(lane: lane, before: before)
        }
    }

    /// How long such transactions take on one connection when so many calls a second are offered, however long they
    /// take: what comes late because others were slow counts from when it was due.
    static func latencies(
        _ url: String,
        tenants: Int,
        series: Int,
        perSecond: Int,
        seconds: Double
    ) async throws -> LoadResult {
        let reservations = RawReservations(count: offeredBatch, tenants: tenants, series: series)
        let connection = try RawConnections.connection(to: url)
        let pace = Duration.seconds(1) * offeredBatch / perSecond
        var result = LoadResult()
        // The connection is made, and statements are planned, before anything is due.
        try await RawConnections.commit(reservations.statements(lane: 0, before: 0), on: connection)
        let start = ContinuousClock.now
        var due = start
        while due < start + .seconds(seconds) {
            try await Task.sleep(until: due, tolerance: .zero)
            let before = Int64(offeredBatch + result.requests)
            try await RawConnections.commit(reservations.statements(lane: 0, before: before), on: connection)
            let took = Int((ContinuousClock.now - due) / .microseconds(1))
            result.latenciesMicroseconds += Array(repeating: took, count: offeredBatch)
            result.requests += offeredBatch
            due += pace
        }
        result.seconds = (ContinuousClock.now - start) / .seconds(1)
        return result
    }
}

/// Reservations of tenants and under limits that the service does not have, so that its workers pass them over.
private struct RawReservations: Sendable {
    private let count: Int64
    private let tenants: Int64
    private let first: Int64
    private let calls: [String]

    init(count: Int, tenants: Int, series: Int) {
        self.count = Int64(count)
        self.tenants = Int64(tenants)
        first = Int64(series) << 50
        calls = Array(repeating: RequestTemplate.call, count: count)
    }

    /// Those of one transaction. Connections share no tenant.
    func statements(lane: Int64, before: Int64) -> [SQL] {
        let numbers = (0..<count).map { (first | lane << 40) + before + $0 }
        let owners = numbers.map { -1 - 2 * ($0 % (tenants / 2)) - lane }
        let keys = numbers.map { PostgresUUID(high: UInt64($0) &* 0x9E37_79B9_7F4A_7C15, low: UInt64($0)) }
        let now = PostgresTimestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000))
        let holders = owners + owners
        let limits = owners.map { _ in Int64(-1) } + owners.map { _ in Int64(-2) }
        let hold: SQL = """
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
        let holds = owners.map { "[[\($0),-1,\"\",\"2000-01-01\",\"1\"],[\($0),-2,\"\",\"2000-01-01\",\"1\"]]" }
        let reserve: SQL = """
            INSERT INTO reservation (
                tenant_id, reservation_id, admission_key, content_hash, source, admission_id, event_type, subject,
                status, created_at, expires_at, suspense_ends_at, max_output_tokens, model, feature, data_class, call,
                client_id, cost_center, holds
            )
            SELECT unnest(\(owners)::bigint[]), unnest(\(keys)::uuid[]), unnest(\(keys)::uuid[]), 1, 'gateway-eu-1',
                'req-0000000000000000', 'llm.completion', 'tenant-000042', 'held', \(now), timestamptz '2100-01-01',
                timestamptz '2100-01-01', 300, 'gpt-4o-2024-11-20', 'chat', NULL, unnest(\(calls)::text[]),
                'key:bench', NULL, unnest(\(holds)::text[])::jsonb
            """
        return [hold, reserve]
    }
}
