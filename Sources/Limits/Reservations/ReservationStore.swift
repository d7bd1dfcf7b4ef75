package import BillingCore
import Catalog
package import Postgres
import Web

/// All SQL over `reservation`. A reservation's row is locked before the limits it holds, except by the transaction that
/// makes it.
package enum ReservationStore {
    /// The reservations that admissions with these keys made before. Rows decode with `decodeKeyed`.
    package static func existing(tenants: [TenantID], keys: [PostgresUUID]) -> SQL {
        """
        SELECT reservation.admission_key, reservation.is_repeated, \(columns)
        FROM unnest(\(tenants)::bigint[], \(keys)::uuid[]) AS wanted (tenant_id, admission_key)
        JOIN reservation
            ON reservation.tenant_id = wanted.tenant_id AND reservation.admission_key = wanted.admission_key
        """
    }

    /// Notes of open reservations that the same calls were asked for again. It locks those of which that is news: send
    /// it before limits are locked. One that is being taken back is waited for, and is gone then.
    package static func noteRepeated(tenants: [TenantID], keys: [PostgresUUID], contentHashes: [Int64]) -> SQL {
        """
        UPDATE reservation
        SET is_repeated = true
        FROM (
            SELECT reservation.tenant_id, reservation.reservation_id
            FROM unnest(\(tenants)::bigint[], \(keys)::uuid[], \(contentHashes)::bigint[])
                AS wanted (tenant_id, admission_key, content_hash)
            JOIN reservation
                ON reservation.tenant_id = wanted.tenant_id AND reservation.admission_key = wanted.admission_key
            WHERE reservation.status = 'held' AND NOT reservation.is_repeated
                AND reservation.content_hash = wanted.content_hash
            ORDER BY reservation.tenant_id, reservation.reservation_id
            FOR NO KEY UPDATE OF reservation
        ) AS repeated
        WHERE reservation.tenant_id = repeated.tenant_id AND reservation.reservation_id = repeated.reservation_id
        """
    }

    package static func reservation(_ id: ReservationID, of tenant: TenantID?) -> SQL {
        """
        SELECT \(columns)
        FROM reservation
        WHERE reservation_id = \(id) AND (\(tenant)::bigint IS NULL OR tenant_id = \(tenant))
        ORDER BY tenant_id
        LIMIT 1
        """
    }

    /// What an open reservation was asked for; nothing for one of before that was kept. Rows decode with `decodeCall`.
    package static func call(of reservation: TenantReservation) -> SQL {
        """
        SELECT coalesce(call, ''), client_id, cost_center
        FROM reservation
        WHERE tenant_id = \(reservation.tenant) AND reservation_id = \(reservation.id) AND status = 'held'
        """
    }

    /// Moves the end of one that is still held, has not expired, and ends as it did when it was read.
    package static func extend(
        _ reservation: Reservation,
        to expiry: Instant,
        suspenseEndsAt: Instant,
        at now: Instant
    ) -> SQL {
        """
        UPDATE reservation
        SET expires_at = \(expiry), suspense_ends_at = \(suspenseEndsAt)
        WHERE tenant_id = \(reservation.tenantID) AND reservation_id = \(reservation.id) AND status = 'held'
            AND expires_at > \(now) AND expires_at = \(reservation.expiresAt)
        RETURNING \(columns)
        """
    }

    /// Closes the reservations that are still held, and answers which those are with what each holds, in rows that
    /// decode with `decodeHold`. `held` locks one and leaves it, for an event that settles a part of it; `expired`
    /// leaves what was extended meanwhile.
    /// - Parameter sparesRepeated: whether those are left whose calls were asked for again.
    package static func close(
        _ closings: [TenantReservation: ReservationStatus],
        at now: Instant,
        sparesRepeated: Bool = false
    ) -> SQL {
        let sorted = closings.sorted { ($0.key.tenant, $0.key.id) < ($1.key.tenant, $1.key.id) }
        return """
            WITH closed AS (
                UPDATE reservation
                SET status = closing.status,
                    closed_at = CASE WHEN closing.status <> 'held' THEN \(now)::timestamptz END,
                    call = CASE WHEN closing.status = 'held' THEN reservation.call END,
                    client_id = CASE WHEN closing.status = 'held' THEN reservation.client_id END,
                    cost_center = CASE WHEN closing.status = 'held' THEN reservation.cost_center END
                FROM unnest(
                    \(sorted.map(\.key.tenant))::bigint[], \(sorted.map(\.key.id))::uuid[],
                    \(sorted.map(\.value))::text[]
                ) AS closing (tenant_id, reservation_id, status)
                WHERE reservation.tenant_id = closing.tenant_id
                    AND reservation.reservation_id = closing.reservation_id AND reservation.status = 'held'
                    AND (closing.status <> 'expired' OR reservation.suspense_ends_at <= \(now))
                    AND NOT (\(sparesRepeated) AND reservation.is_repeated)
                RETURNING reservation.tenant_id, reservation.reservation_id, reservation.is_partly_settled,
                    reservation.holds
            )
            SELECT closed.tenant_id, closed.reservation_id, closed.is_partly_settled, \(holdColumns)
            FROM closed
            LEFT JOIN LATERAL jsonb_array_elements(closed.holds) AS hold ON true
            """
    }

    /// The first of the reservations whose suspense is over, or those that follow one of them. Rows decode with
    /// `decodeDue`.
    package static func due(at now: Instant, after last: DueReservation?, limit: Int) -> SQL {
        """
        SELECT suspense_ends_at, tenant_id, reservation_id
        FROM reservation
        WHERE status = 'held' AND suspense_ends_at <= \(now)
            AND (suspense_ends_at, tenant_id, reservation_id) > (
                \(last?.suspenseEndsAt ?? .minimum), \(last?.name.tenant ?? .operatorWide),
                \(last?.name.id ?? ReservationID(rawValue: .zero))
            )
        ORDER BY suspense_ends_at, tenant_id, reservation_id
        LIMIT \(limit)
        """
    }

    package static func forget(_ reservations: Set<TenantReservation>) -> SQL {
        """
        DELETE FROM reservation
        USING unnest(\(reservations.map(\.tenant))::bigint[], \(reservations.map(\.id))::uuid[])
            AS unwanted (tenant_id, reservation_id)
        WHERE reservation.tenant_id = unwanted.tenant_id AND reservation.reservation_id = unwanted.reservation_id
        """
    }

    /// Forgets reservations that were closed before a time, some of them.
    package static func deleteClosed(before: Instant, limit: Int) -> SQL {
        """
        DELETE FROM reservation
        WHERE (tenant_id, reservation_id) IN (
            SELECT tenant_id, reservation_id
            FROM reservation
            WHERE status <> 'held' AND closed_at < \(before)
            ORDER BY closed_at
            LIMIT \(limit)
            FOR UPDATE SKIP LOCKED
        )
        """
    }

    /// What reservations hold, in rows that decode with `decodeHold`.
    package static func holds(of reservations: [TenantReservation]) -> SQL {
        """
        SELECT reservation.tenant_id, reservation.reservation_id, reservation.is_partly_settled, \(holdColumns)
        FROM unnest(\(reservations.map(\.tenant))::bigint[], \(reservations.map(\.id))::uuid[])
            AS wanted (tenant_id, reservation_id)
        JOIN reservation USING (tenant_id, reservation_id)
        LEFT JOIN LATERAL jsonb_array_elements(reservation.holds) AS hold ON true
        """
    }

    /// Those of tenants that have reservations, open or closed.
    package static func reserving(of tenants: [TenantID]) -> SQL {
        """
        SELECT tenant_id
        FROM unnest(\(tenants)::bigint[]) AS asked (tenant_id)
        WHERE EXISTS (SELECT FROM reservation WHERE reservation.tenant_id = asked.tenant_id)
        """
    }

    /// The first of tenants' open reservations that were made by a time, or of everybody's, or those that follow one
    /// of them, with what each was asked for. Rows decode with `decodeOpen`.
    package static func open(
        of tenants: [TenantID]?,
        madeBy time: Instant,
        after last: Reservation?,
        limit: Int
    ) -> SQL {
        // By the index of what is open: that of the tenant has all that was closed within five weeks, too.
        let own: SQL = tenants.map { "AND tenant_id + 0 = ANY(\($0)::bigint[])" } ?? ""
        return """
            SELECT \(columns), coalesce(call, ''), client_id, cost_center
            FROM reservation
            WHERE status = 'held' AND created_at <= \(time) \(own)
                AND (suspense_ends_at, tenant_id, reservation_id) > (
                    \(last?.suspenseEndsAt ?? .minimum), \(last?.tenantID ?? .operatorWide),
                    \(last?.id ?? ReservationID(rawValue: .zero))
                )
            ORDER BY suspense_ends_at, tenant_id, reservation_id
            LIMIT \(limit)
            """
    }

    /// Adds to what a locked reservation holds.
    package static func add(_ holds: [ReservationHold], to reservation: TenantReservation) -> SQL {
        """
        UPDATE reservation
        SET holds = holds || \(holds.json)::jsonb
        WHERE tenant_id = \(reservation.tenant) AND reservation_id = \(reservation.id)
        """
    }

    /// Says what reservations hold.
    /// - Parameter isPartlySettled: whether that is what an event has left of it that settled a part.
    package static func setHolds(
        _ holds: [TenantReservation: [ReservationHold]],
        isPartlySettled: Bool = false
    ) -> SQL {
        let names = Array(holds.keys)
        return """
            UPDATE reservation
            SET holds = rest.holds::jsonb, is_partly_settled = is_partly_settled OR \(isPartlySettled)
            FROM unnest(
                \(names.map(\.tenant))::bigint[], \(names.map(\.id))::uuid[], \(holds.values.map(\.json))::text[]
            ) AS rest (tenant_id, reservation_id, holds)
            WHERE reservation.tenant_id = rest.tenant_id AND reservation.reservation_id = rest.reservation_id
            """
    }

    /// The rows of limits of a tenant (of the operator: tenant 0) that hold another amount than their reservations do,
    /// as text: which row, what it says, and what the reservations hold. Rows whose amount follows from quantities
    /// beside them are left out; those quantities are not.
    package static func unbalanced(of tenant: TenantID) -> SQL {
        """
        SELECT 'limit ' || limit_id || CASE WHEN scope_value = '' THEN '' ELSE ' of ' || scope_value END
                || ', window from ' || window_start,
            trim_scale(coalesce(state.held, 0))::text, trim_scale(coalesce(holds.amount, 0))::text
        FROM (
            SELECT limit_id, scope_value, window_start, held
            FROM limit_state AS own
            WHERE tenant_id = \(tenant) AND NOT EXISTS (
                SELECT FROM limit_state AS part
                WHERE part.tenant_id = own.tenant_id AND part.limit_id = own.limit_id
                    AND part.window_start = own.window_start AND own.scope_value = ''
                    AND \(LimitRowColumns.isPart("part"))
            )
        ) AS state
        FULL JOIN (
            SELECT held.limit_id, held.scope_value, held.window_start, sum(held.amount) AS amount
            FROM reservation
            CROSS JOIN LATERAL jsonb_array_elements(reservation.holds) AS hold
            CROSS JOIN LATERAL (SELECT \(holdColumns)) AS held
            WHERE reservation.status = 'held' AND held.limit_tenant_id = \(tenant)
                AND (\(tenant) = 0 OR reservation.tenant_id = \(tenant))
            GROUP BY held.limit_id, held.scope_value, held.window_start
        ) AS holds USING (limit_id, scope_value, window_start)
        WHERE coalesce(state.held, 0) <> coalesce(holds.amount, 0)
        ORDER BY limit_id, scope_value, window_start
        LIMIT 1000
        """
    }

    /// The parts of one element `hold` of `holds`.
    private static let holdColumns: SQL = """
        (hold->>0)::bigint AS limit_tenant_id, (hold->>1)::bigint AS limit_id, hold->>2 AS scope_value,
            (hold->>3)::timestamptz AS window_start, (hold->>4)::numeric(38,12) AS amount
        """

    private static let columns: SQL = """
        reservation.tenant_id, reservation.reservation_id, reservation.source, reservation.admission_id,
            reservation.event_type, reservation.subject, reservation.status, reservation.created_at,
            reservation.expires_at, reservation.suspense_ends_at, reservation.closed_at,
            reservation.max_output_tokens, reservation.content_hash, reservation.model, reservation.feature,
            reservation.data_class
        """

    @Sendable
    package static func decode(_ row: inout PostgresRow) throws(PostgresError) -> Reservation {
        Reservation(
            tenantID: try row.next(),
            id: try row.next(),
            source: try row.next(),
            admissionID: try row.next(),
            eventType: try row.next(),
            subject: try row.next(),
            status: try row.next(),
            createdAt: try row.next(),
            expiresAt: try row.next(),
            suspenseEndsAt: try row.next(),
            closedAt: try row.next(),
            maximumOutputTokens: try row.next(),
            contentHash: try row.next(),
            use: ReservedUse(model: try row.next(), feature: try row.next(), dataClass: try row.next())
        )
    }

    @Sendable
    package static func decodeDue(_ row: inout PostgresRow) throws(PostgresError) -> DueReservation {
        let suspenseEndsAt = try row.next(Instant.self)
        return DueReservation(
            name: TenantReservation(tenant: try row.next(), id: try row.next()),
            suspenseEndsAt: suspenseEndsAt
        )
    }

    @Sendable
    package static func decodeKeyed(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> (key: PostgresUUID, isRepeated: Bool, reservation: Reservation) {
        (try row.next(), try row.next(), try decode(&row))
    }

    @Sendable
    package static func decodeCall(_ row: inout PostgresRow) throws(PostgresError) -> ReservedCall {
        ReservedCall(
            text: try row.next(),
            attribution: Attribution(clientID: try row.next(), costCenter: try row.next())
        )
    }

    @Sendable
    package static func decodeOpen(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> (reservation: Reservation, call: ReservedCall) {
        (try decode(&row), try decodeCall(&row))
    }

    /// Decodes what `close` and `holds` answer: one of the holds of a reservation, nil where it has none.
    @Sendable
    package static func decodeHold(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> (reservation: TenantReservation, isPartlySettled: Bool, hold: ReservationHold?) {
        let reservation = TenantReservation(tenant: try row.next(), id: try row.next())
        let isPartlySettled = try row.next(Bool.self)
        guard let tenant = try row.next(TenantID?.self) else { return (reservation, isPartlySettled, nil) }
        let held = LimitRow(
            tenant: tenant,
            limit: try row.next(),
            scopeValue: try row.next(),
            windowStart: try row.next()
        )
        return (reservation, isPartlySettled, ReservationHold(row: held, amount: try row.next()))
    }
}

extension ReservationStatus: PostgresConvertible {}

extension [ReservationHold] {
    /// As the column `holds` has them.
    var json: String {
        var writer = JSONWriter(reserving: 128 * count + 2)
        writer.array { writer in
            for hold in self {
                writer.array { writer in
                    writer.element(hold.row.tenant.rawValue)
                    writer.element(hold.row.limit.rawValue)
                    writer.element(hold.row.scopeValue)
                    writer.element(hold.row.windowStart)
                    writer.element(hold.amount)
                }
            }
        }
        return writer.text
    }
}
