import BillingCore
import Postgres
import Web

/// Events whose deliveries could not be made: they are tried again one by one, and set aside after some failures, so
/// that they hold up no others.
enum OutboxSuspects {
    /// After how many seconds it is tried again, by how many failures there were; beyond that it is set aside.
    static let retrySeconds: [Int64] = [10, 60, 300, 1_800]
    /// How many a round tries, and how many new ones it looks for.
    static let batch = 20

    struct Suspect: Sendable {
        let event: DeliveredEventID
        let failures: Int32
    }

    /// An event that waits and was never tried by itself: the first of the tenant whose turn it is.
    static func first(after tenant: TenantID, pool: PostgresPool) async throws -> Suspect? {
        let waiting: SQL = """
            SELECT tenant_id, event_id, fan_out_failures FROM webhook_event
            WHERE fanned_out_at IS NULL AND fan_out_failures = 0
            """
        return try await pool.query(
            .worker,
            """
            (\(waiting) AND tenant_id > \(tenant) ORDER BY tenant_id, event_id LIMIT 1)
            UNION ALL
            (\(waiting) ORDER BY tenant_id, event_id LIMIT 1)
            LIMIT 1
            """,
            suspect
        ).first
    }

    /// Some of those that are to be tried again.
    static func due(at now: Instant, pool: PostgresPool) async throws -> [Suspect] {
        try await pool.query(
            .worker,
            """
            SELECT tenant_id, event_id, fan_out_failures FROM webhook_event
            WHERE fanned_out_at IS NULL AND fan_out_failures > 0 AND fan_out_retry_at <= \(now)
            ORDER BY fan_out_retry_at
            LIMIT \(batch)
            """,
            suspect
        )
    }

    /// Notes that an event could not be taken once more, unless another process has done so.
    /// - Returns: whether it is set aside by that.
    static func note(_ suspect: Suspect, at now: Instant, pool: PostgresPool) async throws -> Bool {
        let index = Int(suspect.failures)
        let retryAfter = retrySeconds.indices.contains(index) ? retrySeconds[index] : nil
        let setAsideAt = retryAfter == nil ? now : nil
        let noted = try await pool.execute(
            .worker,
            """
            UPDATE webhook_event
            SET fan_out_failures = fan_out_failures + 1, fan_out_retry_at = \(now.adding(seconds: retryAfter ?? 0)),
                set_aside_at = \(setAsideAt), fanned_out_at = \(setAsideAt)
            WHERE tenant_id = \(suspect.event.tenant) AND event_id = \(suspect.event.id)
                AND fanned_out_at IS NULL AND fan_out_failures = \(suspect.failures)
            """
        )
        return noted == 1 && setAsideAt != nil
    }

    @Sendable private static func suspect(_ row: inout PostgresRow) throws(PostgresError) -> Suspect {
        Suspect(event: DeliveredEventID(tenant: try row.next(), id: try row.next()), failures: try row.next())
    }
}
