import BillingCore
package import Postgres
import Web

/// Events on their way to webhook endpoints. They are written in the transaction of what they tell, so that what was
/// rolled back is never told and what was committed is told at least once.
package enum Outbox {
    /// Adds the events to the transaction in one statement, which is sent with the next round trip or with COMMIT.
    package static func enqueue(_ events: [OutboxEvent], in transaction: borrowing Transaction) {
        guard !events.isEmpty else { return }
        transaction.enqueue(
            """
            INSERT INTO webhook_event (tenant_id, event_id, event_type, occurred_at, operator_only, data)
            SELECT tenant_id, event_id, event_type, occurred_at, operator_only, data::json
            FROM unnest(
                \(events.map(\.tenant))::bigint[], \(events.map(\.id))::uuid[], \(events.map(\.type.rawValue))::text[],
                \(events.map(\.occurredAt))::timestamptz[], \(events.map(\.isForOperatorOnly))::boolean[],
                \(events.map(\.data.text))::text[]
            ) AS event (tenant_id, event_id, event_type, occurred_at, operator_only, data)
            """
        )
    }
}
