import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Webhooks

/// What waits is measured, and what is old is forgotten.
@Suite(.timeLimit(.minutes(15)))
struct UpkeepTests {
    private static func upkeep(_ server: TestServer, _ pool: PostgresPool) -> WebhookUpkeepWorker {
        WebhookUpkeepWorker(pool: pool, metrics: DeliveryMetrics(), clock: server.clock.clock, logger: .silent)
    }

    @Test("events and deliveries are forgotten after 30 days, what happened since then is not")
    func oldDeliveriesAreForgotten() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", receiver.url, events: "limit.reached")
            try await server.tell([.limitReached, .invoicePaid])
            #expect(try await server.deliveries(reach: ["succeeded"]))
            server.clock.advance(seconds: 86_400)
            let kept = try await server.tell([.limitReached])
            #expect(try await server.deliveries(reach: ["succeeded", "succeeded"]))
            server.clock.advance(seconds: WebhookUpkeepWorker.keptSeconds - 86_400)
            try await server.withPool { pool in
                let worker = Self.upkeep(server, pool)
                try await worker.sweepDeliveries()
                try await worker.sweepEvents()
                #expect(try await server.column("SELECT count(*)::text FROM webhook_event") == ["3"])
                server.clock.advance(seconds: 1)
                try await worker.sweepDeliveries()
                try await worker.sweepEvents()
            }
            let events = try await server.column("SELECT event_id::text FROM webhook_event ORDER BY 1 LIMIT 9")
            #expect(events == kept)
            #expect(try await server.column("SELECT count(*)::text FROM webhook_delivery") == ["1"])
            #expect(try await server.column("SELECT count(*)::text FROM webhook_attempt") == ["1"])
        }
    }

    /// Adds deliveries to the endpoint `ops` that are due in an hour, as after a failure.
    private static func addWaiting(_ count: Int, of event: String, _ server: TestServer) async throws {
        try await server.database.run(
            """
            INSERT INTO webhook_delivery (tenant_id, delivery_id, endpoint_key, event_tenant_id, event_id,
                event_type, status, attempt_count, failure_count, next_attempt_at, created_at)
            SELECT 0, gen_random_uuid(), 'ops', number, '\(event)', 'usage.unpriced', 'pending', 1, 1,
                '2026-11-23T09:00:00Z', '2026-11-23T08:00:00Z'
            FROM generate_series(1, \(count)) AS number
            """
        )
    }

    @Test("of very much that waits for an endpoint when it is disabled nothing is tried, and all of it ends")
    func disablingEndsEverything() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", receiver.url, events: "limit.reached")
            let event = try await server.tell([.usageUnpriced])[0]
            let beyond = DeliveryQueue.cancelBatch + 7
            try await Self.addWaiting(beyond, of: event, server)
            let path = "/api/v1/webhook-endpoints/ops"
            try await server.operatorClient.patch(path, #"{"enabled": false}"#).expecting(200)
            server.clock.advance(seconds: 7_200)
            try await server.withPool { pool in
                let terms = DeliveryQueue.ClaimTerms(
                    limit: 10,
                    free: 10,
                    kinds: WebhookEndpoint.Kind.allCases,
                    opensURLs: true,
                    perEndpoint: 10,
                    perTenant: 10,
                    leaseSeconds: 30
                )
                let claims = try await pool.transaction(.worker) { transaction in
                    try DeliveryQueue.claim(terms, at: server.clock.now, in: transaction).deliveries.count
                }
                #expect(claims == 0)
                let worker = Self.upkeep(server, pool)
                try await worker.cancel()
            }
            let states = try await server.column(
                "SELECT status || ' ' || count(*) FROM webhook_delivery GROUP BY status ORDER BY 1"
            )
            #expect(states == ["canceled \(beyond)"])
            #expect(receiver.received.isEmpty)
            try await server.operatorClient.delete(path).expecting(204)
            #expect(try await server.column("SELECT status FROM webhook_delivery LIMIT 1") == [])
        }
    }

    @Test("of very much that waited for an endpoint that was disabled nothing is delivered once it is enabled again")
    func enablingIsANewStart() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", receiver.url, events: "limit.reached")
            let event = try await server.tell([.usageUnpriced])[0]
            let count = DeliveryQueue.cancelBatch + 4_100
            try await Self.addWaiting(count, of: event, server)
            let path = "/api/v1/webhook-endpoints/ops"
            try await server.operatorClient.patch(path, #"{"enabled": false}"#).expecting(200)
            let enabled = try await server.operatorClient.patch(path, #"{"enabled": true}"#).expecting(200)
            #expect(enabled.json["enabled"]?.bool == true)
            let states: SQL = "SELECT status || ' ' || count(*) FROM webhook_delivery GROUP BY status ORDER BY 1"
            #expect(try await server.column(states) == ["canceled \(count)"])
            server.clock.advance(seconds: 7_200)
            try await server.tell([.limitReached])
            #expect(try await eventually { receiver.received.count == 1 })
            #expect(try await server.column(states).contains("canceled \(count)"))
        }
    }

    @Test("an endpoint for which very much waits is disabled first, and deleted with all of it, in pieces")
    func longQueues() async throws {
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", "https://example.com/", events: "limit.reached")
            let event = try await server.tell([.usageUnpriced])[0]
            // Of which disabling leaves more than one piece waiting.
            let beyond = DeliveryQueue.cancelBatch + 2_500
            try await Self.addWaiting(beyond, of: event, server)
            try await server.database.run(
                """
                CREATE FUNCTION bound() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF (SELECT count(*) FROM gone) > 2000 THEN RAISE 'too many in one statement'; END IF;
                    RETURN NULL;
                END
                $$;
                CREATE TRIGGER bounded AFTER DELETE ON webhook_delivery REFERENCING OLD TABLE AS gone
                FOR EACH STATEMENT EXECUTE FUNCTION bound()
                """
            )
            let path = "/api/v1/webhook-endpoints/ops"
            let refused = try await server.operatorClient.delete(path)
            #expect(refused.status == 409 && refused.code == "deliveries_wait")
            #expect(try await server.column("SELECT count(*)::text FROM webhook_delivery") == ["\(beyond)"])
            try await server.operatorClient.patch(path, #"{"enabled": false}"#).expecting(200)
            try await server.operatorClient.delete(path).expecting(204)
            #expect(try await server.column("SELECT status FROM webhook_delivery LIMIT 1") == [])
        }
    }

    @Test("a secret that signs no more is forgotten, and one that still does is kept")
    func previousSecretsAreForgotten() async throws {
        try await HookStory.run { server in
            for key in ["a", "b"] {
                let path = "/api/v1/webhook-endpoints/\(key)"
                try await server.makeEndpoint(key, "https://example.com/", #", "signing": "ed25519""#)
                try await server.operatorClient.post("\(path)/rotate-secret", #"{"overlap_seconds": 60}"#).expecting(
                    200
                )
                server.clock.advance(seconds: 30)
            }
            server.clock.advance(seconds: 1)
            try await server.withPool { pool in
                try await Self.upkeep(server, pool).clearPreviousSecrets()
            }
            let kept = try await server.column(
                "SELECT endpoint_key FROM webhook_endpoint WHERE previous_sealed_secret IS NOT NULL ORDER BY 1 LIMIT 9"
            )
            #expect(kept == ["b"])
            let one = try await server.operatorClient.get("/api/v1/webhook-endpoints/a").expecting(200).json
            #expect(one["previous_secret_expires_at"] == .null && one["previous_public_key"] == .null)
            #expect(one["public_key"]?.string != nil)
        }
    }

    @Test("attempts are counted by outcome, and of what waits it is known how much it is, and since when it is due")
    func deliveriesAreMeasured() async throws {
        let receiver = try WebhookReceiver { _ in .init(500) }
        defer { receiver.stop() }
        try await HookStory.run { server in
            let failed = #"turnpike_webhook_attempts_total{kind="webhook",outcome="failed"}"#
            let before = try await server.counterValue(failed)
            try await server.makeEndpoint("ops", receiver.url)
            try await server.tell([.limitReached])
            #expect(
                try await eventually {
                    try await server.column("SELECT outcome FROM webhook_attempt LIMIT 9") == ["failed"]
                }
            )
            #expect(try await server.counterValue(failed) > before)
            let next = try await server.column(
                "SELECT (extract(epoch FROM next_attempt_at) * 1000000)::bigint::text FROM webhook_delivery LIMIT 9"
            )
            let dueSince = Instant(microseconds: try #require(next.first.flatMap { $0 }.flatMap { Int64($0) }))
            let now = server.clock.now
            try await server.withPool { pool in
                try await Self.upkeep(server, pool).measure()
                let waiting = try #require(try await DeliveryLog.backlog(at: now, pool: pool))
                #expect(waiting.count == 1 && waiting.dueSince == nil)
                let late = try #require(try await DeliveryLog.backlog(at: now.adding(seconds: 86_400), pool: pool))
                #expect(late.count == 1 && late.dueSince == dueSince)
            }
            let metrics = try await server.anonymous.get("/metrics").text
            #expect(metrics.contains("turnpike_webhook_deliveries_waiting "))
            #expect(metrics.contains("turnpike_webhook_oldest_waiting_seconds "))
        }
    }

    @Test("deliveries that are tried no more are counted, by why")
    func givenUpDeliveriesAreCounted() async throws {
        let receiver = try WebhookReceiver { _ in .init(410) }
        defer { receiver.stop() }
        try await HookStory.run { server in
            func counted(_ reason: String) async throws -> Int {
                try await server.counterValue(#"turnpike_webhook_deliveries_given_up_total{reason="\#(reason)"}"#)
            }
            let before = (failed: try await counted("failed"), unsent: try await counted("unsent"))
            try await server.makeEndpoint("ops", receiver.url)
            try await server.tell([.limitReached])
            #expect(try await server.deliveries(reach: ["failed"]))
            #expect(try await eventually { try await counted("failed") > before.failed })
            try await server.database.run(
                """
                UPDATE webhook_delivery
                SET status = 'pending', finished_at = NULL, next_attempt_at = 'infinity', created_at = '2026-10-01Z'
                """
            )
            try await server.withPool { pool in
                try await Self.upkeep(server, pool).sweepDeliveries()
            }
            #expect(try await counted("unsent") > before.unsent)
        }
    }
}
