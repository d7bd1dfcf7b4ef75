import Foundation
import Postgres

/// What PostgreSQL itself does with the same rows in the same tables, by the statements of the service: the
/// deduplicating insert and the insert into the raw log, as one transaction per 1,000 events on two connections, and
/// nothing else. The service is measured against this figure of the same run.
enum RawBaseline {
    private static let batch = 1_000

    static func eventsPerSecond(_ url: String, seconds: Double) async throws -> Double {
        let same = SameColumns(count: batch)
        return try await RawConnections.perSecond(url, seconds: seconds, batch: batch) { lane, before in
            statements(first: lane << 40 | before, same)
        }
    }

    /// Tenants are nobody's.
    private static func statements(first: Int64, _ same: SameColumns) -> [SQL] {
        let numbers = (0..<Int64(batch)).map { first + $0 }
        let keys = numbers.map { PostgresUUID(high: scattered($0), low: scattered($0 &+ 0x5DEE_CE66)) }
        let tenants = numbers.map { -1 - ($0 / 10) % 1_000 }
        // Sixteen digits, as the ids of the load have.
        let ids = numbers.map { "evt-\(String(10_000_000_000_000_000 + $0).dropFirst())" }
        let claim: SQL = """
            INSERT INTO event_dedup (tenant_id, event_key, content_hash, event_time)
            SELECT unnest(\(tenants)::bigint[]), unnest(\(keys)::uuid[]), unnest(\(numbers)::bigint[]),
                unnest(\(same.times)::timestamptz[])
            ON CONFLICT ON CONSTRAINT event_dedup_pk DO NOTHING
            RETURNING tenant_id, event_key
            """
        let insert: SQL = """
            INSERT INTO usage_event (
                tenant_id, ledger_seq, event_time, received_at, event_key, reversal_of, catalog_version,
                input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost,
                source, event_id, event_type, subject, provider, model, end_user, feature, cost_center, request_id,
                client_id, data, extensions, provider_cost, price_set_id, fx_rate_id
            )
            SELECT unnest(\(tenants)::bigint[]), unnest(\(numbers)::bigint[]), unnest(\(same.times)::timestamptz[]),
                unnest(\(same.times)::timestamptz[]), unnest(\(keys)::uuid[]), unnest(\(same.noKeys)::uuid[]),
                unnest(\(same.versions)::bigint[]), unnest(\(same.inputTokens)::bigint[]),
                unnest(\(same.cachedInputTokens)::bigint[]), unnest(\(same.noTokens)::bigint[]),
                unnest(\(same.outputTokens)::bigint[]), unnest(\(same.reasoningTokens)::bigint[]),
                unnest(\(same.noAmounts)::numeric[]), unnest(\(same.sources)::text[]), unnest(\(ids)::text[]),
                unnest(\(same.types)::text[]), unnest(\(same.subjects)::text[]), unnest(\(same.providers)::text[]),
                unnest(\(same.models)::text[]), unnest(\(same.users)::text[]), unnest(\(same.features)::text[]),
                unnest(\(same.costCenters)::text[]), unnest(\(same.requestIDs)::text[]),
                unnest(\(same.clients)::text[]), unnest(\(same.noJSON)::jsonb[]), unnest(\(same.noJSON)::jsonb[]),
                unnest(\(same.providerCosts)::numeric[]), unnest(\(same.priceSets)::bigint[]),
                unnest(\(same.noKeys)::uuid[])
            """
        return [claim, insert]
    }

    /// Keys are hashes in the product, so they must arrive in no order here too (the finaliser of SplitMix64).
    private static func scattered(_ number: Int64) -> UInt64 {
        var value = UInt64(bitPattern: number) &+ 0x9E37_79B9_7F4A_7C15
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}

/// The columns that are the same in all transactions, of the event that the load sends.
private struct SameColumns: Sendable {
    let times: [PostgresTimestamp]
    let versions: [Int64]
    let inputTokens: [Int64?]
    let cachedInputTokens: [Int64?]
    let outputTokens: [Int64?]
    let reasoningTokens: [Int64?]
    let sources: [String]
    let types: [String]
    let subjects: [String]
    let providers: [String?]
    let models: [String?]
    let users: [String?]
    let features: [String?]
    let costCenters: [String?]
    let requestIDs: [String?]
    let clients: [String?]
    let providerCosts: [PostgresNumeric?]
    let priceSets: [Int64?]
    let noKeys: [PostgresUUID?]
    let noTokens: [Int64?]
    let noAmounts: [PostgresNumeric?]
    let noJSON: [PostgresJSON?]

    init(count: Int) {
        func all<Value>(_ value: Value) -> [Value] { Array(repeating: value, count: count) }
        times = all(PostgresTimestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000)))
        versions = all(1)
        inputTokens = all(1_200)
        cachedInputTokens = all(1_000)
        outputTokens = all(300)
        reasoningTokens = all(120)
        sources = all("gateway-eu-1")
        types = all("llm.completion")
        subjects = all("tenant-000042")
        providers = all("openai")
        models = all("gpt-4o-2024-11-20")
        users = all("user-17")
        features = all("chat")
        costCenters = all("cc-12")
        requestIDs = all("req-7f3a9c")
        clients = all("key:bench")
        providerCosts = all(PostgresNumeric(unscaled: 4_750_000_000))
        priceSets = all(1)
        noKeys = all(nil)
        noTokens = all(nil)
        noAmounts = all(nil)
        noJSON = all(nil)
    }
}
