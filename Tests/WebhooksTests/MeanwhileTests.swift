import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Webhooks

/// Statements that change many rows leave those that somebody has changed meanwhile, and waits to commit.
@Suite struct MeanwhileTests {
    /// Changes rows, and commits when somebody comes to wait for them.
    private static func during(
        _ change: SQL,
        of table: String,
        _ queue: DeliveryStory,
        _ body: () async throws -> Void
    ) async throws {
        async let changed: Void = queue.pool.transaction(.worker) { transaction in
            _ = try transaction.execute(change)
            _ = try transaction.execute(TestServer.untilSomebodyWaits)
        }
        let isBegun = try await eventually { try await queue.pool.locks("RowExclusiveLock", on: table) != 0 }
        #expect(isBegun)
        try await body()
        try await changed
    }

    private static func run(_ body: (DeliveryStory, WebhookEndpointID) async throws -> Void) async throws {
        try await DeliveryStory.run(urls: ["https://example.com/"], events: 1) { queue in
            try await body(queue, WebhookEndpointID(tenant: .operatorWide, key: "chat-0"))
        }
    }

    @Test("what has arrived while its endpoint was being disabled is not canceled", arguments: [true, false])
    func arrived(isDisabledBefore: Bool) async throws {
        try await Self.run { queue, endpoint in
            let now = queue.clock.now
            if isDisabledBefore { try await queue.pool.execute(.worker, "UPDATE webhook_endpoint SET enabled = false") }
            let arrival: SQL = "UPDATE webhook_delivery SET status = 'succeeded', finished_at = \(now)"
            try await Self.during(arrival, of: "webhook_delivery", queue) {
                if isDisabledBefore {
                    let ended = try await DeliveryQueue.cancelWaitingForDisabled(at: now, limit: 9, pool: queue.pool)
                    #expect(ended == 0)
                } else {
                    try await queue.pool.transaction(.worker) { transaction in
                        DeliveryQueue.cancelWaiting(for: endpoint, at: now, in: transaction)
                    }
                }
            }
            #expect(try await queue.states() == ["succeeded 0"])
        }
    }

    @Test("what was being queued for an endpoint when it was disabled and enabled again is canceled, too")
    func enabledAgain() async throws {
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", "https://example.com/")
            let (now, ids) = (server.clock.now, IDSource.random(server.clock.clock))
            let event = OutboxEvent(
                id: ids.next(),
                tenant: TenantID(1),
                type: .limitReached,
                occurredAt: now,
                data: .object([])
            )
            try await server.withPool { pool in
                async let queued: Void = pool.transaction(.worker) { transaction in
                    Outbox.enqueue([event], in: transaction)
                    let selection = OutboxFanOut.Selection.one(DeliveredEventID(tenant: event.tenant, id: event.id))
                    _ = try OutboxFanOut.round(selection, at: now, ids: ids, in: transaction)
                    _ = try transaction.execute(TestServer.untilSomebodyWaits)
                }
                let isBegun = try await eventually {
                    try await pool.locks("RowExclusiveLock", on: "webhook_delivery") != 0
                }
                #expect(isBegun)
                for isEnabled in [false, true] {
                    try await server.operatorClient.patch(
                        "/api/v1/webhook-endpoints/ops",
                        #"{"enabled": \#(isEnabled)}"#
                    ).expecting(200)
                }
                try await queued
            }
            #expect(try await server.column("SELECT status FROM webhook_delivery LIMIT 9") == ["canceled"])
        }
    }

    @Test("what is asked for again while an endpoint's old deliveries are removed stays")
    func askedForAgain() async throws {
        try await Self.run { queue, endpoint in
            let now = queue.clock.now
            try await queue.pool.execute(.worker, "UPDATE webhook_delivery SET status = 'failed', finished_at = \(now)")
            let retry: SQL = "UPDATE webhook_delivery SET status = 'pending', finished_at = NULL"
            try await Self.during(retry, of: "webhook_delivery", queue) {
                _ = try await DeliveryLog.removeSome(of: endpoint, pool: queue.pool)
            }
            #expect(try await queue.states() == ["pending 0"])
        }
    }

    @Test("a secret that takes the place of one that is being forgotten goes on signing until its own time is over")
    func rotatedAgain() async throws {
        try await Self.run { queue, _ in
            let now = queue.clock.now
            let until = { (time: Instant) -> SQL in
                """
                UPDATE webhook_endpoint
                SET kind = 'webhook', signing = 'ed25519', sealed_secret = 'y', previous_sealed_secret = 'x',
                    previous_secret_expires_at = \(time)
                """
            }
            try await queue.pool.execute(.worker, until(now))
            try await Self.during(until(now.adding(seconds: 60)), of: "webhook_endpoint", queue) {
                let forgotten = try await WebhookEndpointStore.clearPreviousSecrets(at: now, limit: 9, pool: queue.pool)
                #expect(forgotten == 0)
            }
            let kept = try await queue.pool.query(
                .worker,
                "SELECT previous_secret_expires_at IS NOT NULL FROM webhook_endpoint"
            ) { row throws(PostgresError) in try row.next(Bool.self) }
            #expect(kept == [true])
        }
    }
}
