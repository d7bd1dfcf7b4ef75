package import BillingCore
package import Postgres
package import Web

/// An event whose subject named no tenant, as it is kept under tenant 0 until it is replayed.
package struct UnmatchedRecord: Sendable {
    package let key: EventKey
    package let receivedAt: Instant
    package let time: Instant
    package let subject: String
    package let source: String
    package let id: String
    package let type: String
    /// The event as CloudEvents JSON in its normalised form.
    package let event: String
    /// Whom the credential it came by attributes it to.
    package let attribution: Attribution
}

/// All SQL over `unmatched_event`.
package enum UnmatchedEventStore {
    private static let columns: SQL = """
        event_key, received_at, event_time, subject, source, event_id, event_type,
        event::text, client_id, attributed_cost_center
        """

    /// Keeps events. The key covers the subject, so the same event for two unknown subjects is two.
    /// - Returns: a notice for every event: unmatched, or a duplicate or conflict of one kept before.
    static func insert(_ events: [UnmatchedEvent], in transaction: borrowing Transaction) throws -> [EventNotice] {
        var first: [EventKey: Int64] = [:]
        var fresh: [UnmatchedEvent] = []
        for item in events where first[item.event.unmatchedKey] == nil {
            first[item.event.unmatchedKey] = item.event.contentHash
            fresh.append(item)
        }
        let keys = fresh.map(\.event.unmatchedKey)
        let inserted = Set(try transaction.query(insertion(of: fresh), decodeKey))
        let taken = keys.filter { !inserted.contains($0) }
        if !taken.isEmpty {
            let hashes = try transaction.query(
                """
                SELECT event_key, content_hash
                FROM unmatched_event
                WHERE tenant_id = \(TenantID.operatorWide) AND event_key = ANY (\(taken))
                """
            ) { row throws(PostgresError) in (try row.next(EventKey.self), try row.next(Int64.self)) }
            for (key, hash) in hashes {
                first[key] = hash
            }
        }
        var reported: Set<EventKey> = []
        return events.map { item in
            let key = item.event.unmatchedKey
            let isFirst = inserted.contains(key) && reported.insert(key).inserted
            let status: EventStatus =
                isFirst ? .unmatched : first[key] == item.event.contentHash ? .duplicate : .conflict
            return EventNotice(submission: item.submission, index: item.index, id: item.event.id, status: status)
        }
    }

    private static func insertion(of events: [UnmatchedEvent]) -> SQL {
        """
        INSERT INTO unmatched_event (
            tenant_id, event_key, content_hash, received_at, event_time, time_given, subject, source, event_id,
            event_type, event, client_id, attributed_cost_center
        )
        SELECT \(TenantID.operatorWide), event_key, content_hash, received_at, event_time, time_given, subject,
            source, event_id, event_type, event::json, client_id, attributed_cost_center
        FROM unnest(
            \(events.map(\.event.unmatchedKey))::uuid[], \(events.map(\.event.contentHash))::bigint[],
            \(events.map(\.receivedAt))::timestamptz[], \(events.map(\.time))::timestamptz[],
            \(events.map { $0.event.time != nil })::boolean[], \(events.map(\.event.subject))::text[],
            \(events.map(\.event.source))::text[], \(events.map(\.event.id))::text[],
            \(events.map(\.event.type))::text[], \(events.map(\.event.json))::text[],
            \(events.map(\.event.attribution.clientID))::text[],
            \(events.map(\.event.attribution.costCenter))::text[]
        ) AS event (
            event_key, content_hash, received_at, event_time, time_given, subject, source, event_id, event_type, event,
            client_id, attributed_cost_center
        )
        ORDER BY event_key
        ON CONFLICT ON CONSTRAINT unmatched_event_pk DO NOTHING
        RETURNING event_key
        """
    }

    /// The events that still wait, of one subject or of all, by key.
    package static func waiting(subject: String?, after: EventKey?, limit: Int) -> SQL {
        var conditions: [SQL] = ["tenant_id = \(TenantID.operatorWide)", "replayed_at IS NULL"]
        if let subject { conditions.append("subject = \(subject)") }
        if let after { conditions.append("event_key > \(after)") }
        return """
            SELECT \(columns)
            FROM unmatched_event
            WHERE \(SQL.joined(conditions, separator: " AND "))
            ORDER BY event_key
            LIMIT \(limit)
            """
    }

    /// The events that wait although their subject names a tenant by now, of one subject or of all, by key.
    /// - Parameters:
    ///   - after: a key, none of which is taken that is not behind it.
    ///   - last: the last key that is taken.
    static func attributable(subject: String?, after: EventKey?, through last: EventKey?, limit: Int) -> SQL {
        var conditions: [SQL] = ["waiting.tenant_id = \(TenantID.operatorWide)", "waiting.replayed_at IS NULL"]
        if let subject { conditions.append("waiting.subject = \(subject)") }
        if let after { conditions.append("waiting.event_key > \(after)") }
        if let last { conditions.append("waiting.event_key <= \(last)") }
        return """
            SELECT waiting.event_key, waiting.received_at, waiting.event_time, waiting.subject,
                waiting.source, waiting.event_id, waiting.event_type, waiting.event::text, waiting.client_id,
                waiting.attributed_cost_center
            FROM unmatched_event AS waiting
            JOIN subject_directory AS directory ON directory.subject = waiting.subject
            WHERE \(SQL.joined(conditions, separator: " AND "))
            ORDER BY waiting.event_key
            LIMIT \(limit)
            """
    }

    /// How many events wait, of one subject or of all.
    static func waitingCount(subject: String?) -> SQL {
        let condition: SQL = subject.map { "subject = \($0)" } ?? "true"
        return """
            SELECT count(*)
            FROM unmatched_event
            WHERE tenant_id = \(TenantID.operatorWide) AND replayed_at IS NULL AND \(condition)
            """
    }

    /// Marks an event as replayed for a tenant.
    static func markReplayed(_ keys: [EventKey], tenants: [TenantID], at time: Instant) -> SQL {
        """
        UPDATE unmatched_event AS kept
        SET replayed_at = \(time), replayed_tenant_id = replayed.tenant_id
        FROM unnest(\(keys)::uuid[], \(tenants)::bigint[]) AS replayed (event_key, tenant_id)
        WHERE kept.tenant_id = \(TenantID.operatorWide) AND kept.event_key = replayed.event_key
            AND kept.replayed_at IS NULL
        """
    }

    @Sendable
    private static func decodeKey(_ row: inout PostgresRow) throws(PostgresError) -> EventKey {
        try row.next()
    }

    @Sendable
    package static func decode(_ row: inout PostgresRow) throws(PostgresError) -> UnmatchedRecord {
        UnmatchedRecord(
            key: try row.next(),
            receivedAt: try row.next(),
            time: try row.next(),
            subject: try row.next(),
            source: try row.next(),
            id: try row.next(),
            type: try row.next(),
            event: try row.next(),
            attribution: Attribution(clientID: try row.next(), costCenter: try row.next())
        )
    }
}
