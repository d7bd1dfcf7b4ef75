import Foundation
import Postgres
import Synchronization

/// What PostgreSQL itself does with the same rows in the same tables: the deduplicating insert and the insert into the
/// raw log, as one transaction per 1,000 events on two connections, and nothing else. The service is measured against
/// this figure of the same run.
enum RawBaseline {
    private static let batch = 1_000

    static func eventsPerSecond(pool: PostgresPool, seconds: Double) async throws -> Double {
        let deadline = Date().addingTimeInterval(seconds)
        let start = Date()
        let total = try await withThrowingTaskGroup(of: Int.self) { group in
            for connection in 0..<2 {
                group.addTask {
                    var events = 0
                    while Date() < deadline {
                        let first = Int64(connection) << 40 | Int64(events)
                        try await pool.transaction(.ingest) { transaction in
                            try insert(first: first, in: transaction)
                        }
                        events += batch
                    }
                    return events
                }
            }
            return try await group.reduce(0, +)
        }
        return Double(total) / Date().timeIntervalSince(start)
    }

    private static func insert(first: Int64, in transaction: borrowing Transaction) throws {
        let numbers = (0..<Int64(batch)).map { first + $0 }
        let now = PostgresTimestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000))
        let times = Array(repeating: now, count: batch)
        let keys = numbers.map { PostgresUUID(high: scattered($0), low: scattered($0 &+ 0x5DEE_CE66)) }
        let tenants = numbers.map { -1 - ($0 / 10) % 1_000 }
        func all(_ text: String) -> [String] { Array(repeating: text, count: batch) }
        transaction.enqueue(
            """
            INSERT INTO event_dedup (tenant_id, event_key, content_hash, event_time)
            SELECT * FROM unnest(\(tenants)::bigint[], \(keys)::uuid[], \(numbers)::bigint[], \(times)::timestamptz[])
            ON CONFLICT ON CONSTRAINT event_dedup_pk DO NOTHING
            """
        )
        let tokens = { (count: Int64) in Array(repeating: Int64?.some(count), count: batch) }
        transaction.enqueue(
            """
            INSERT INTO usage_event (
                tenant_id, ledger_seq, event_time, received_at, event_key, reversal_of, catalog_version,
                input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost,
                source, event_id, event_type, subject, provider, model, end_user, feature, cost_center, request_id,
                data, extensions
            )
            SELECT * FROM unnest(
                \(tenants)::bigint[], \(numbers)::bigint[], \(times)::timestamptz[], \(times)::timestamptz[],
                \(keys)::uuid[], \([PostgresUUID?](repeating: nil, count: batch))::uuid[], \(numbers)::bigint[],
                \(tokens(1_200))::bigint[], \(tokens(1_000))::bigint[],
                \([Int64?](repeating: nil, count: batch))::bigint[], \(tokens(300))::bigint[],
                \(tokens(120))::bigint[], \([PostgresNumeric?](repeating: nil, count: batch))::numeric[],
                \(all("gateway-eu-1"))::text[], \(numbers.map { "evt-" + String($0) })::text[],
                \(all("llm.completion"))::text[], \(all("tenant-000042"))::text[], \(all("openai"))::text[],
                \(all("gpt-4o-2024-11-20"))::text[], \(all("user-17"))::text[], \(all("chat"))::text[],
                \(all("cc-12"))::text[], \(all("req-7f3a9c"))::text[],
                \([PostgresJSON?](repeating: nil, count: batch))::jsonb[],
                \([PostgresJSON?](repeating: nil, count: batch))::jsonb[]
            )
            """
        )
    }

    /// Keys are hashes in the product, so they must arrive in no order here too (the finaliser of SplitMix64).
    private static func scattered(_ number: Int64) -> UInt64 {
        var value = UInt64(bitPattern: number) &+ 0x9E37_79B9_7F4A_7C15
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
