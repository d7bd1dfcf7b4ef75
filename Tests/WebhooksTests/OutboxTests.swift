import BillingCore
import Postgres
import TestSupport
import Testing
import Web
import Webhooks

@Suite struct OutboxTests {
    private static let now = Instant(microseconds: 1_800_000_000_123_456)

    @Test("events are stored with the transaction they were written in, as they were written")
    func eventsAreCommittedWithTheirTransaction() async throws {
        try await TestDatabase.with { database in
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let data = try JSONValue(parsing: #"{"zeta": "1.50", "id": "é", "a": 0.10}"#)
            let events = [TenantID(1), .operatorWide].map { tenant in
                OutboxEvent(
                    id: IDSource.random(.system).next(),
                    tenant: tenant,
                    type: .limitReached,
                    occurredAt: Self.now,
                    data: data,
                    isForOperatorOnly: tenant == .operatorWide
                )
            }
            try await pool.transaction(.worker) { Outbox.enqueue(events, in: $0) }
            let rows = try await pool.query(
                .worker,
                """
                SELECT concat_ws(' ', tenant_id, event_id, event_type, operator_only, occurred_at = \(Self.now), data)
                FROM webhook_event WHERE fanned_out_at IS NULL ORDER BY tenant_id DESC LIMIT 10
                """
            ) { row throws(PostgresError) in try row.next(String.self) }
            #expect(
                rows == [
                    #"1 \#(events[0].id) limit.reached f t {"zeta":"1.50","id":"é","a":0.10}"#,
                    #"0 \#(events[1].id) limit.reached t t {"zeta":"1.50","id":"é","a":0.10}"#,
                ]
            )
            await pool.close()
        }
    }

    @Test("what is rolled back is never told")
    func eventsAreRolledBackWithTheirTransaction() async throws {
        try await TestDatabase.with { database in
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            await #expect(throws: CancellationError.self) {
                try await pool.transaction(.worker) { transaction in
                    Outbox.enqueue(
                        [
                            OutboxEvent(
                                id: IDSource.random(.system).next(),
                                tenant: TenantID(1),
                                type: .webhookTest,
                                occurredAt: Self.now,
                                data: .object([])
                            )
                        ],
                        in: transaction
                    )
                    try transaction.execute("SELECT 1")
                    throw CancellationError()
                }
            }
            let rows = try await pool.query(.worker, "SELECT count(*) FROM webhook_event") {
                row throws(PostgresError) in try row.next(Int64.self)
            }
            #expect(rows == [0])
            await pool.close()
        }
    }
}
