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

    /// `unnest` stands in the select list, where PostgreSQL takes the arrays in step: a `FROM unnest(...)` would first
    /// copy each into a table of its own.
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
            FROM (
                SELECT unnest(\(made.map(\.tenantID))::bigint[]) AS tenant_id,
                    unnest(\(made.map(\.id))::uuid[]) AS reservation_id,
                    unnest(\(rows.map(\.key))::uuid[]) AS admission_key,
                    unnest(\(made.map(\.contentHash))::bigint[]) AS content_hash,
                    unnest(\(made.map(\.source))::text[]) AS source,
                    unnest(\(made.map(\.admissionID))::text[]) AS admission_id,
                    unnest(\(made.map(\.eventType))::text[]) AS event_type,
                    unnest(\(made.map(\.subject))::text[]) AS subject,
                    unnest(\(made.map(\.createdAt))::timestamptz[]) AS created_at,
                    unnest(\(made.map(\.expiresAt))::timestamptz[]) AS expires_at,
                    unnest(\(made.map(\.suspenseEndsAt))::timestamptz[]) AS suspense_ends_at,
                    unnest(\(made.map(\.maximumOutputTokens))::bigint[]) AS max_output_tokens,
                    unnest(\(made.map(\.use.model))::text[]) AS model,
                    unnest(\(made.map(\.use.feature))::text[]) AS feature,
                    unnest(\(made.map(\.use.dataClass))::text[]) AS data_class,
                    unnest(\(rows.map(\.call.text))::text[]) AS call,
                    unnest(\(rows.map(\.call.attribution.clientID))::text[]) AS client_id,
                    unnest(\(rows.map(\.call.attribution.costCenter))::text[]) AS cost_center,
                    unnest(\(rows.map(\.holds))::text[]) AS holds
            ) AS made
            """
    }
}
