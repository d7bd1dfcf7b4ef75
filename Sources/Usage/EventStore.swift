import BillingCore
import Postgres

/// All SQL over `event_dedup`.
enum DedupStore {
    /// Claims keys for their tenants. Answers `(tenant_id, event_key)` of the keys that were free, which are the
    /// events to count; a key that was claimed at any earlier time stays with whoever claimed it first.
    static func claim(tenants: [TenantID], keys: [EventKey], hashes: [Int64], times: [Instant]) -> SQL {
        """
        INSERT INTO event_dedup (tenant_id, event_key, content_hash, event_time)
        SELECT tenant_id, event_key, content_hash, event_time
        FROM unnest(\(tenants)::bigint[], \(keys)::uuid[], \(hashes)::bigint[], \(times)::timestamptz[])
            AS event (tenant_id, event_key, content_hash, event_time)
        ON CONFLICT ON CONSTRAINT event_dedup_pk DO NOTHING
        RETURNING tenant_id, event_key
        """
    }

    /// The content hashes and times under which keys were first claimed.
    static func existing(tenants: [TenantID], keys: [EventKey]) -> SQL {
        """
        SELECT dedup.tenant_id, dedup.event_key, dedup.content_hash, dedup.event_time
        FROM unnest(\(tenants)::bigint[], \(keys)::uuid[]) AS wanted (tenant_id, event_key)
        JOIN event_dedup AS dedup
            ON dedup.tenant_id = wanted.tenant_id AND dedup.event_key = wanted.event_key
        """
    }
}

/// The rows of one insert into `usage_event`, column by column, as PostgreSQL takes them fastest.
struct EventColumns {
    private(set) var count = 0
    private var tenants: [TenantID] = []
    private var sequences: [Int64] = []
    private var times: [Instant] = []
    private var received: [Instant] = []
    private var keys: [EventKey] = []
    private var reversals: [EventKey?] = []
    private var versions: [Int64] = []
    private var inputTokens: [Int64?] = []
    private var cachedInputTokens: [Int64?] = []
    private var cacheWriteTokens: [Int64?] = []
    private var outputTokens: [Int64?] = []
    private var reasoningTokens: [Int64?] = []
    private var costs: [FixedDecimal?] = []
    private var sources: [String] = []
    private var ids: [String] = []
    private var types: [String] = []
    private var subjects: [String] = []
    private var providers: [String?] = []
    private var models: [String?] = []
    private var users: [String?] = []
    private var features: [String?] = []
    private var costCenters: [String?] = []
    private var requestIDs: [String?] = []
    private var data: [PostgresJSON?] = []
    private var extensions: [PostgresJSON?] = []

    mutating func append(_ stored: StoredEvent, tenant: TenantID) {
        let event = stored.event
        let usage = event.usage
        count += 1
        tenants.append(tenant)
        sequences.append(stored.ledgerSequence)
        times.append(stored.time)
        received.append(stored.receivedAt)
        keys.append(stored.key)
        reversals.append(stored.reversalOf)
        versions.append(stored.catalogVersion)
        inputTokens.append(usage.inputTokens)
        cachedInputTokens.append(usage.cachedInputTokens)
        cacheWriteTokens.append(usage.cacheWriteTokens)
        outputTokens.append(usage.outputTokens)
        reasoningTokens.append(usage.reasoningTokens)
        costs.append(usage.cost)
        sources.append(event.source)
        ids.append(event.id)
        types.append(event.type)
        subjects.append(event.subject)
        providers.append(usage.provider)
        models.append(usage.model)
        users.append(usage.user)
        features.append(usage.feature)
        costCenters.append(usage.costCenter)
        requestIDs.append(usage.requestID)
        data.append(event.data.map(PostgresJSON.init(text:)))
        extensions.append(event.extensions.map(PostgresJSON.init(text:)))
    }

    var insert: SQL {
        """
        INSERT INTO usage_event (
            tenant_id, ledger_seq, event_time, received_at, event_key, reversal_of, catalog_version,
            input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost,
            source, event_id, event_type, subject, provider, model, end_user, feature, cost_center, request_id,
            data, extensions
        )
        SELECT * FROM unnest(
            \(tenants)::bigint[], \(sequences)::bigint[], \(times)::timestamptz[], \(received)::timestamptz[],
            \(keys)::uuid[], \(reversals)::uuid[], \(versions)::bigint[],
            \(inputTokens)::bigint[], \(cachedInputTokens)::bigint[], \(cacheWriteTokens)::bigint[],
            \(outputTokens)::bigint[], \(reasoningTokens)::bigint[], \(costs)::numeric[],
            \(sources)::text[], \(ids)::text[], \(types)::text[], \(subjects)::text[], \(providers)::text[],
            \(models)::text[], \(users)::text[], \(features)::text[], \(costCenters)::text[],
            \(requestIDs)::text[], \(data)::jsonb[], \(extensions)::jsonb[]
        )
        """
    }
}
