import BillingCore
import Catalog
import Postgres
import Web

/// All SQL over `unpriced_usage`.
enum UnpricedUsageStore {
    /// What is unpriced of one model, over all tenants and days, or those that were asked for.
    struct Summary: Sendable {
        let reason: UnpricedReason
        let provider: String
        let model: String
        let events: Int64
        let inputTokens: FixedDecimal
        let outputTokens: FixedDecimal
        let tenants: Int64
        let since: Instant
        let until: Instant
    }

    struct Filter: Sendable {
        var tenant: TenantID?
        var reason: UnpricedReason?
        var provider: String?
        var model: String?
    }

    /// Adds usage, in key order. What was tried with an older price book before stays to be tried.
    static func add(_ counts: [(key: UnpricedKey, value: UnpricedChanges.Count)], triedWith version: Int64) -> SQL {
        """
        INSERT INTO unpriced_usage AS kept (
            tenant_id, reason, provider, model, day_start, event_count, input_tokens, output_tokens, attempted_version
        )
        SELECT tenant_id, reason, provider, model, day_start, event_count, input_tokens, output_tokens, \(version)
        FROM unnest(
            \(counts.map(\.key.tenant))::bigint[], \(counts.map(\.key.reason))::text[],
            \(counts.map(\.key.provider))::text[], \(counts.map(\.key.model))::text[],
            \(counts.map(\.key.dayStart))::timestamptz[], \(counts.map(\.value.events))::bigint[],
            \(counts.map(\.value.inputTokens))::numeric[], \(counts.map(\.value.outputTokens))::numeric[]
        ) AS added (tenant_id, reason, provider, model, day_start, event_count, input_tokens, output_tokens)
        ORDER BY tenant_id, reason, provider, model, day_start
        ON CONFLICT ON CONSTRAINT unpriced_usage_pk DO UPDATE
        SET event_count = kept.event_count + excluded.event_count,
            input_tokens = kept.input_tokens + excluded.input_tokens,
            output_tokens = kept.output_tokens + excluded.output_tokens,
            attempted_version = least(kept.attempted_version, excluded.attempted_version)
        """
    }

    /// Those of the keys, each of no day in particular, of which usage of some day is unpriced.
    static func anyDay(of keys: [UnpricedKey]) -> SQL {
        """
        SELECT tenant_id, reason, provider, model, day_start
        FROM \(unnested(keys))
        WHERE EXISTS (
            SELECT FROM unpriced_usage AS kept
            WHERE kept.tenant_id = wanted.tenant_id AND kept.reason = wanted.reason
                AND kept.provider = wanted.provider AND kept.model = wanted.model AND kept.event_count > 0
        )
        """
    }

    /// How many models have usage that is unpriced, or was lately, by tenant and reason: what is voided makes no room.
    static func modelCounts(of kinds: [UnpricedKind], atMost limit: Int) -> SQL {
        """
        SELECT wanted.tenant_id, wanted.reason, (
            SELECT count(*)
            FROM (
                SELECT DISTINCT provider, model
                FROM unpriced_usage AS kept
                WHERE kept.tenant_id = wanted.tenant_id AND kept.reason = wanted.reason
                LIMIT \(limit)
            ) AS model
        )
        FROM unnest(\(kinds.map(\.tenant))::bigint[], \(kinds.map(\.reason))::text[]) AS wanted (tenant_id, reason)
        """
    }

    @Sendable
    static func decodeModelCount(_ row: inout PostgresRow) throws(PostgresError) -> (UnpricedKind, Int64) {
        (UnpricedKind(tenant: try row.next(), reason: try row.next()), try row.next())
    }

    /// Takes out usage that was rated or voided.
    static func remove(_ count: UnpricedChanges.Count, from key: UnpricedKey) -> SQL {
        """
        UPDATE unpriced_usage
        SET event_count = greatest(event_count - \(count.events), 0),
            input_tokens = greatest(input_tokens - \(count.inputTokens), 0),
            output_tokens = greatest(output_tokens - \(count.outputTokens), 0)
        WHERE \(condition(key))
        """
    }

    /// What has not been tried with a version of the price book yet, behind a key.
    static func untried(with version: Int64, after key: UnpricedKey?, limit: Int) -> SQL {
        let isBehind: SQL =
            key.map { key in
                """
                (tenant_id, reason, provider, model, day_start)
                    > (\(key.tenant), \(key.reason), \(key.provider), \(key.model), \(key.dayStart))
                """
            } ?? "true"
        return """
            SELECT tenant_id, reason, provider, model, day_start
            FROM unpriced_usage
            WHERE attempted_version < \(version) AND \(isBehind)
            ORDER BY tenant_id, reason, provider, model, day_start
            LIMIT \(limit)
            """
    }

    /// Notes that usage was tried with a version of the price book, and forgets what has none left.
    static func settle(_ keys: [UnpricedKey], triedWith version: Int64, in transaction: borrowing Transaction) throws {
        try transaction.execute(
            """
            UPDATE unpriced_usage AS kept
            SET attempted_version = greatest(kept.attempted_version, \(version))
            FROM \(unnested(keys))
            WHERE \(matching)
            """
        )
        try transaction.execute(
            """
            DELETE FROM unpriced_usage AS kept
            USING \(unnested(keys))
            WHERE \(matching) AND kept.event_count = 0
            """
        )
    }

    /// What is unpriced, by provider, model and reason.
    static func summaries(_ filter: Filter, after position: (String, String, String)?, limit: Int) -> SQL {
        var conditions: [SQL] = ["event_count > 0"]
        if let tenant = filter.tenant { conditions.append("tenant_id = \(tenant)") }
        if let reason = filter.reason { conditions.append("reason = \(reason)") }
        if let provider = filter.provider { conditions.append("provider = \(provider)") }
        if let model = filter.model { conditions.append("model = \(model)") }
        if let (provider, model, reason) = position {
            conditions.append("(provider, model, reason) > (\(provider), \(model), \(reason))")
        }
        return """
            SELECT reason, provider, model, sum(event_count)::bigint, sum(input_tokens)::numeric(38,12),
                sum(output_tokens)::numeric(38,12), count(DISTINCT tenant_id), min(day_start), max(day_start)
            FROM unpriced_usage
            WHERE \(SQL.joined(conditions, separator: " AND "))
            GROUP BY provider, model, reason
            ORDER BY provider, model, reason
            LIMIT \(limit)
            """
    }

    /// What is unpriced of one tenant, for a pipeline; decode with `decodeCount`.
    static func counts(of tenant: TenantID) -> SQL {
        """
        SELECT tenant_id, reason, provider, model, day_start, event_count, input_tokens, output_tokens
        FROM unpriced_usage
        WHERE tenant_id = \(tenant) AND event_count > 0
        ORDER BY reason, provider, model, day_start
        """
    }

    @Sendable
    static func decodeCount(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> (UnpricedKey, UnpricedChanges.Count) {
        let key = try decodeKey(&row)
        return (
            key,
            UnpricedChanges.Count(
                events: try row.next(),
                inputTokens: try row.next(),
                outputTokens: try row.next()
            )
        )
    }

    /// How many events are unpriced, by reason.
    static let totals: SQL =
        "SELECT reason, sum(event_count)::bigint FROM unpriced_usage GROUP BY reason ORDER BY reason"

    @Sendable
    static func decodeKey(_ row: inout PostgresRow) throws(PostgresError) -> UnpricedKey {
        UnpricedKey(
            tenant: try row.next(),
            reason: try row.next(),
            provider: try row.next(),
            model: try row.next(),
            dayStart: try row.next()
        )
    }

    @Sendable
    static func decodeSummary(_ row: inout PostgresRow) throws(PostgresError) -> Summary {
        Summary(
            reason: try row.next(),
            provider: try row.next(),
            model: try row.next(),
            events: try row.next(),
            inputTokens: try row.next(),
            outputTokens: try row.next(),
            tenants: try row.next(),
            since: try row.next(),
            until: try row.next()
        )
    }

    private static func condition(_ key: UnpricedKey) -> SQL {
        """
        tenant_id = \(key.tenant) AND reason = \(key.reason) AND provider = \(key.provider) AND model = \(key.model)
            AND day_start = \(key.dayStart)
        """
    }

    private static func unnested(_ keys: [UnpricedKey]) -> SQL {
        """
        unnest(
            \(keys.map(\.tenant))::bigint[], \(keys.map(\.reason))::text[], \(keys.map(\.provider))::text[],
            \(keys.map(\.model))::text[], \(keys.map(\.dayStart))::timestamptz[]
        ) AS wanted (tenant_id, reason, provider, model, day_start)
        """
    }

    private static let matching: SQL = """
        kept.tenant_id = wanted.tenant_id AND kept.reason = wanted.reason AND kept.provider = wanted.provider
            AND kept.model = wanted.model AND kept.day_start = wanted.day_start
        """
}
