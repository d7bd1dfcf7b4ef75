package import BillingCore
package import Postgres
import Web

/// An event of the raw log, as `usage_event` keeps it.
package struct StoredEvent: Sendable {
    /// Without its content hash, which the deduplication keeps.
    package let event: UsageEvent
    /// Its own key: the event's, or for a reversal one of its own.
    package let key: EventKey
    /// The event that this one takes back, counted at that event's time.
    package let reversalOf: EventKey?
    package let time: Instant
    package let receivedAt: Instant
    /// The tenant's order of commits.
    package let ledgerSequence: Int64
    /// The shared catalogue's version that metered it.
    package let catalogVersion: Int64
    /// What the provider charges for it; nil where that is not known, or nobody does.
    package var cost: StoredCost?
    /// When it was rated after it was stored.
    package var laterRating: LaterRating?

    /// What takes it back, stored under a key of its own at its time.
    func reversal(sequence: Int64, at now: Instant) -> StoredEvent {
        StoredEvent(
            event: event,
            key: EventKey(reversalOf: key),
            reversalOf: key,
            time: time,
            receivedAt: now,
            ledgerSequence: sequence,
            catalogVersion: catalogVersion,
            cost: cost
        )
    }
}

/// The query half of `usage_event`.
package enum EventLogStore {
    private static let columns: SQL = """
        ledger_seq, event_time, received_at, event_key, reversal_of, catalog_version,
        input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost,
        source, event_id, event_type, subject, provider, model, end_user, feature, cost_center, request_id, client_id,
        data, extensions
        """

    /// The provider cost, and of what kind it is.
    private static let costColumns: SQL = """
        provider_cost, price_set_id, fx_rate_id,
        (SELECT price_set.currency FROM price_set WHERE price_set.price_set_id = usage_event.price_set_id),
        (SELECT price_set.is_reported FROM price_set WHERE price_set.price_set_id = usage_event.price_set_id),
        rated_ledger_seq, rated_version
        """

    /// Nothing of the cost, for whoever must not see it.
    private static let noCostColumns: SQL = """
        NULL::numeric, NULL::bigint, NULL::uuid, NULL::text, NULL::boolean, NULL::bigint, NULL::bigint
        """

    /// One page of a tenant's events in the order of their time, from `after` on, up to a ledger sequence, for a
    /// rebuild.
    package static func page(
        tenant: TenantID,
        interval: Interval,
        after: EventPosition?,
        throughSequence: Int64,
        limit: Int
    ) -> SQL {
        let start = after?.time ?? interval.start
        let sequence = after?.ledgerSequence ?? Int64.min
        return """
            SELECT \(columns), \(costColumns)
            FROM usage_event
            WHERE tenant_id = \(tenant)
                AND (event_time, ledger_seq) > (\(start), \(sequence))
                AND event_time >= \(interval.start) AND event_time < \(interval.end)
                AND ledger_seq <= \(throughSequence)
            ORDER BY event_time, ledger_seq
            LIMIT \(limit)
            """
    }

    /// Of such a page the events of one type, those whose type has more letters than ASCII, which may be the same spelt
    /// with other code points, and the last event, behind which the next page begins.
    package static func page(
        tenant: TenantID,
        interval: Interval,
        type: String,
        after: EventPosition?,
        throughSequence: Int64,
        limit: Int
    ) -> SQL {
        let page = page(
            tenant: tenant,
            interval: interval,
            after: after,
            throughSequence: throughSequence,
            limit: limit
        )
        // The other way round no letters tell: a type of ASCII may be the same as one with others.
        guard type.utf8.allSatisfy({ $0 < 0x80 }) else { return page }
        return """
            WITH page AS MATERIALIZED (\(page))
            SELECT *
            FROM page
            WHERE event_type = \(type) OR octet_length(event_type) > char_length(event_type)
                OR (event_time, ledger_seq) = (
                    SELECT event_time, ledger_seq FROM page ORDER BY event_time DESC, ledger_seq DESC LIMIT 1
                )
            ORDER BY event_time, ledger_seq
            """
    }

    /// One page of the events of a model, of an interval of its day, that have no cost, or no conversion of it, in the
    /// order of their time. Voided ones are left out.
    static func unpriced(_ key: UnpricedKey, in interval: Interval, after: EventPosition?, limit: Int) -> SQL {
        let start = after?.time ?? interval.start
        let sequence = after?.ledgerSequence ?? Int64.min
        let isUnpriced: SQL =
            key.reason == .price ? "price_set_id IS NULL" : "price_set_id IS NOT NULL AND fx_rate_id IS NULL"
        return """
            SELECT \(columns), \(costColumns)
            FROM usage_event
            WHERE tenant_id = \(key.tenant)
                AND (event_time, ledger_seq) > (\(start), \(sequence))
                AND event_time >= \(interval.start) AND event_time < \(interval.end)
                AND coalesce(provider, '') = \(key.provider) AND coalesce(model, '') = \(key.model)
                AND \(isUnpriced) AND reversal_of IS NULL AND NOT EXISTS (
                    SELECT FROM usage_event AS reversal
                    WHERE reversal.tenant_id = usage_event.tenant_id AND reversal.event_time = usage_event.event_time
                        AND reversal.reversal_of = usage_event.event_key
                )
            ORDER BY event_time, ledger_seq
            LIMIT \(limit)
            """
    }

    /// The event that claimed a key at a time, as it counts: where it was replayed, as it was stored then.
    package static func event(tenant: TenantID, key: EventKey, time: Instant) -> SQL {
        let keys = [key, EventKey(replayOf: key)]
        return """
            SELECT \(columns), \(costColumns)
            FROM usage_event
            WHERE tenant_id = \(tenant) AND event_time = \(time) AND event_key = ANY(\(keys)::uuid[])
            ORDER BY ledger_seq DESC
            LIMIT 1
            """
    }

    /// Events of several tenants as they stand now, each behind its tenant.
    static func current(_ events: [(tenant: TenantID, stored: StoredEvent)]) -> SQL {
        let times = events.map(\.stored.time)
        return """
            SELECT usage_event.tenant_id, \(columns), \(costColumns)
            FROM unnest(
                \(events.map(\.tenant))::bigint[], \(times)::timestamptz[],
                \(events.map(\.stored.ledgerSequence))::bigint[]
            ) AS wanted (tenant, time, sequence)
            JOIN usage_event
                ON usage_event.tenant_id = wanted.tenant AND usage_event.event_time = wanted.time
                AND usage_event.ledger_seq = wanted.sequence
            WHERE usage_event.event_time BETWEEN \(times.min() ?? .maximum) AND \(times.max() ?? .minimum)
            ORDER BY usage_event.tenant_id
            """
    }

    @Sendable
    static func decodeCurrent(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> (tenant: TenantID, stored: StoredEvent) {
        (try row.next(), try decode(&row))
    }

    /// The times of the first and the last event of an interval; both null without any.
    package static func bounds(tenant: TenantID, interval: Interval) -> SQL {
        """
        SELECT min(event_time), max(event_time)
        FROM usage_event
        WHERE tenant_id = \(tenant) AND event_time >= \(interval.start) AND event_time < \(interval.end)
        """
    }

    /// The keys of those events of a page that were voided. A reversal stands at the time of its event, and so among
    /// the page's times: nothing else of the log is read, however long that is.
    package static func voided(
        among page: [StoredEvent],
        of tenant: TenantID,
        throughSequence: Int64
    ) -> SQL {
        """
        SELECT reversal_of
        FROM usage_event
        WHERE tenant_id = \(tenant) AND event_time >= \(page.first?.time ?? .maximum)
            AND event_time <= \(page.last?.time ?? .minimum)
            AND ledger_seq <= \(throughSequence) AND reversal_of IS NOT NULL
        """
    }

    @Sendable
    package static func decodeVoided(_ row: inout PostgresRow) throws(PostgresError) -> EventKey { try row.next() }

    /// The newest events first, for `GET /events`.
    package static func newest(_ filter: EventLogFilter, before: EventPosition?, limit: Int) -> SQL {
        var conditions: [SQL] = ["tenant_id = \(filter.tenant)"]
        if let time = filter.time { conditions.append("event_time = \(time)") }
        if let from = filter.from { conditions.append("event_time >= \(from)") }
        if let to = filter.to { conditions.append("event_time < \(to)") }
        if let user = filter.user { conditions.append("end_user = \(user)") }
        if let model = filter.model { conditions.append("model = \(model)") }
        if let type = filter.type { conditions.append("event_type = \(type)") }
        if let source = filter.source { conditions.append("source = \(source)") }
        if let client = filter.client { conditions.append("client_id = \(client)") }
        if let id = filter.id { conditions.append("event_id = \(id)") }
        if let through = filter.throughSequence { conditions.append("ledger_seq <= \(through)") }
        if filter.isCounted {
            let through = filter.throughSequence ?? .max
            conditions.append(
                """
                reversal_of IS NULL AND NOT EXISTS (
                    SELECT 1 FROM usage_event AS reversal
                    WHERE reversal.tenant_id = usage_event.tenant_id AND reversal.event_time = usage_event.event_time
                        AND reversal.reversal_of = usage_event.event_key AND reversal.ledger_seq <= \(through)
                )
                """
            )
        }
        if let before {
            conditions.append("(event_time, ledger_seq) < (\(before.time), \(before.ledgerSequence))")
        }
        return """
            SELECT \(columns), \(filter.showsCosts ? costColumns : noCostColumns)
            FROM usage_event
            WHERE \(SQL.joined(conditions, separator: " AND "))
            ORDER BY event_time DESC, ledger_seq DESC
            LIMIT \(limit)
            """
    }

    @Sendable
    package static func decode(_ row: inout PostgresRow) throws(PostgresError) -> StoredEvent {
        let sequence = try row.next(Int64.self)
        let time = try row.next(Instant.self)
        let received = try row.next(Instant.self)
        let key = try row.next(EventKey.self)
        let reversal = try row.next(EventKey?.self)
        let version = try row.next(Int64.self)
        var usage = LLMUsage()
        usage.inputTokens = try row.next()
        usage.cachedInputTokens = try row.next()
        usage.cacheWriteTokens = try row.next()
        usage.outputTokens = try row.next()
        usage.reasoningTokens = try row.next()
        usage.cost = try row.next()
        let source = try row.next(String.self)
        let id = try row.next(String.self)
        let type = try row.next(String.self)
        let subject = try row.next(String.self)
        usage.provider = try row.next()
        usage.model = try row.next()
        usage.user = try row.next()
        usage.feature = try row.next()
        usage.costCenter = try row.next()
        usage.requestID = try row.next()
        let client = try row.next(String?.self)
        let event = UsageEvent(
            source: source,
            id: id,
            type: type,
            subject: subject,
            time: time,
            usage: usage,
            attribution: Attribution(clientID: client),
            data: try row.next(PostgresJSON?.self)?.text,
            extensions: try row.next(PostgresJSON?.self)?.text,
            key: key,
            contentHash: 0
        )
        return StoredEvent(
            event: event,
            key: key,
            reversalOf: reversal,
            time: time,
            receivedAt: received,
            ledgerSequence: sequence,
            catalogVersion: version,
            cost: try cost(&row),
            laterRating: try laterRating(&row)
        )
    }

    private static func cost(_ row: inout PostgresRow) throws(PostgresError) -> StoredCost? {
        let amount = try row.next(FixedDecimal?.self)
        let set = try row.next(PriceSetID?.self)
        let fxRate = try row.next(FXRateID?.self)
        let currency = try row.next(Currency?.self)
        let isReported = try row.next(Bool?.self)
        guard let amount, let set else { return nil }
        return StoredCost(
            amount: amount,
            priceSet: set,
            fxRate: fxRate,
            currency: currency,
            isReported: isReported ?? false
        )
    }

    private static func laterRating(_ row: inout PostgresRow) throws(PostgresError) -> LaterRating? {
        let sequence = try row.next(Int64?.self)
        let version = try row.next(Int64?.self)
        return sequence.map { LaterRating(ledgerSequence: $0, version: version) }
    }
}

/// A place in a tenant's raw log.
package struct EventPosition: Sendable, Hashable {
    package let time: Instant
    package let ledgerSequence: Int64
}

/// Which events of a tenant's raw log are wanted.
package struct EventLogFilter: Sendable {
    package let tenant: TenantID
    package var user: String?
    package var model: String?
    package var type: String?
    package var source: String?
    /// The credential that they came by.
    package var client: String?
    /// Only where an operator asks, under the service's role.
    package var showsCosts = false
    package var id: String?
    /// The time of all that is wanted, where it is known.
    package var time: Instant?
    package var from: Instant?
    package var to: Instant?
    /// Nothing that was stored after this ledger sequence.
    package var throughSequence: Int64?
    /// Neither reversals nor what they take back, as of `throughSequence`.
    package var isCounted = false

    /// The role that may read what is wanted.
    var scope: PostgresScope { showsCosts ? .service : .tenant(tenant.rawValue) }
}
