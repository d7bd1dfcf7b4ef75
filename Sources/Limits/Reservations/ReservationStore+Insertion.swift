import Catalog
package import Postgres
import Web

extension ReservationStore {
    /// Inserts reservations with what each was asked for and holds. A key that another transaction took fails the
    /// statement, and with it the transaction: see `reservation_identity`.
    package static func insert(_ rows: [NewReservation]) -> SQL {
        "\(insertion(of: rows)) ORDER BY tenant_id, admission_key"
    }

    /// The same, but passes over those whose key is taken already: whoever is about to close such a reservation has
    /// locked it, and may wait for limits that this transaction has locked. As many rows are affected as were new.
    package static func insertUnknown(_ rows: [NewReservation]) -> SQL {
        """
        \(insertion(of: rows))
        WHERE NOT EXISTS (
            SELECT FROM reservation AS known
            WHERE known.tenant_id = made.tenant_id AND known.admission_key = made.admission_key
        )
        ORDER BY tenant_id, admission_key
        """
    }

    /// The same, but fails the transaction where one is not new. The rows come in the same order, in which the database
    /// inserts them.
    package static func insertAllUnknown(_ rows: [NewReservation]) -> SQL {
        let ordered = rows.sorted { left, right in
            (left.reservation.tenantID, left.key.high, left.key.low)
                < (right.reservation.tenantID, right.key.high, right.key.low)
        }
        return """
            \(insertion(of: ordered))
            WHERE CASE WHEN (
                SELECT true FROM reservation AS known
                WHERE known.tenant_id = made.tenant_id AND known.admission_key = made.admission_key
                LIMIT 1
            ) THEN refuse_transaction('a call was admitted before', made.tenant_id) ELSE true END
            """
    }

    private static func insertion(of rows: [NewReservation]) -> SQL {
        let made = rows.map(\.reservation)
        return """
            INSERT INTO reservation (
                tenant_id, reservation_id, admission_key, content_hash, source, admission_id, event_type, subject,
                status, created_at, expires_at, suspense_ends_at, max_output_tokens, model, feature, data_class, call,
                client_id, cost_center, holds
            )
            SELECT tenant_id, reservation_id, admission_key, content_hash, source, admission_id, event_type, subject,
                'held', created_at, expires_at, suspense_ends_at, max_output_tokens, model, feature, data_class, call,
                client_id, cost_center, holds::jsonb
            FROM unnest(
                \(made.map(\.tenantID))::bigint[], \(made.map(\.id))::uuid[], \(rows.map(\.key))::uuid[],
                \(made.map(\.contentHash))::bigint[], \(made.map(\.source))::text[],
                \(made.map(\.admissionID))::text[], \(made.map(\.eventType))::text[],
                \(made.map(\.subject))::text[], \(made.map(\.createdAt))::timestamptz[],
                \(made.map(\.expiresAt))::timestamptz[], \(made.map(\.suspenseEndsAt))::timestamptz[],
                \(made.map(\.maximumOutputTokens))::bigint[], \(made.map(\.use.model))::text[],
                \(made.map(\.use.feature))::text[], \(made.map(\.use.dataClass))::text[],
                \(rows.map(\.call.text))::text[], \(rows.map(\.call.attribution.clientID))::text[],
                \(rows.map(\.call.attribution.costCenter))::text[], \(rows.map(\.holds))::text[]
            ) AS made (
                tenant_id, reservation_id, admission_key, content_hash, source, admission_id, event_type, subject,
                created_at, expires_at, suspense_ends_at, max_output_tokens, model, feature, data_class, call,
                client_id, cost_center, holds
            )
            """
    }
}
