import BillingCore
import Identity
import Logging
import Postgres
import TestSupport
import Web

@testable import Webhooks

/// A database with an endpoint for each URL, and events waiting to be told to all of them.
struct DeliveryStory: Sendable {
    let database: TestDatabase
    let pool: PostgresPool
    let clock: TestClock
    let log = TestLog()

    static func run(
        urls: [String],
        owners: [Int64] = [0],
        events: Int,
        _ body: (DeliveryStory) async throws -> Void
    ) async throws {
        try await TestDatabase.with { database in
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let queue = DeliveryStory(database: database, pool: pool, clock: TestClock())
            do {
                try await queue.fill(urls, owners: owners, events: events)
                try await body(queue)
                await pool.close()
            } catch {
                await pool.close()
                throw error
            }
        }
    }

    private func fill(_ urls: [String], owners: [Int64], events: Int) async throws {
        for (index, url) in urls.enumerated() {
            try await addEndpoint("chat-\(index)", url, of: owners[index % owners.count])
        }
        try await add(events)
        try await worker().fanOut()
    }

    func addEndpoint(_ key: String, _ url: String, of owner: Int64) async throws {
        let now = clock.now
        let endpoint = WebhookEndpoint(
            id: WebhookEndpointID(tenant: TenantID(owner), key: key),
            kind: .slack,
            url: url,
            description: "",
            events: .all,
            isEnabled: true,
            signing: nil,
            createdAt: now,
            updatedAt: now,
            revision: 1
        )
        _ = try await pool.transaction(.worker) { transaction in
            try WebhookEndpointStore.insert(endpoint, sealedSecret: nil, in: transaction)
        }
    }

    /// Puts events in the outbox.
    /// - Parameter owner: nil spreads them over the operator and two tenants.
    func add(_ count: Int, _ type: WebhookEventType = .limitReached, of owner: Int64? = nil) async throws {
        let (now, ids) = (clock.now, IDSource.random(clock.clock))
        let events = (0..<count).map { index in
            OutboxEvent(
                id: ids.next(),
                tenant: TenantID(owner ?? Int64(index % 3)),
                type: type,
                occurredAt: now,
                data: .object([])
            )
        }
        try await pool.transaction(.worker) { Outbox.enqueue(events, in: $0) }
    }

    private func sender(
        lookups: Int,
        lookUp: OutboundClient.LookUp?,
        attemptSeconds: Int64
    ) -> WebhookSender {
        let addresses = OutboundGuard(allowed: [AddressRange("127.0.0.1")].compactMap(\.self))
        let outbound =
            if let lookUp {
                OutboundClient(addresses: addresses, timeoutSeconds: attemptSeconds, lookups: lookups, lookUp: lookUp)
            } else {
                OutboundClient(addresses: addresses, timeoutSeconds: attemptSeconds, lookups: lookups)
            }
        return WebhookSender(
            outbound: outbound,
            tenantOutbound: outbound,
            masterKey: nil,
            mail: nil,
            logger: log.logger(level: .info)
        )
    }

    /// - Parameters:
    ///   - lookups: as many as the limits have when left out.
    ///   - lookUp: the system's when left out.
    func worker(
        _ limits: DeliveryWorker.Limits = .init(),
        lookups: Int? = nil,
        lookUp: OutboundClient.LookUp? = nil,
        attemptSeconds: Int64 = 15
    ) -> DeliveryWorker {
        DeliveryWorker(
            pool: pool,
            sender: sender(
                lookups: lookups ?? limits.lookups,
                lookUp: lookUp,
                attemptSeconds: attemptSeconds
            ),
            disabling: EndpointDisabling(announce: { _, _ in }, ids: .random(clock.clock)),
            tenants: TenantDirectory(
                tenant: { _ in nil },
                subject: { _ in nil },
                keys: { _ in [:] },
                standing: { _ in nil }
            ),
            limits: limits,
            clock: clock.clock,
            ids: .random(clock.clock),
            metrics: DeliveryMetrics(),
            logger: log.logger(level: .info)
        )
    }

    func states() async throws -> [String] {
        try await pool.query(
            .worker,
            "SELECT status || ' ' || attempt_count FROM webhook_delivery ORDER BY 1 LIMIT 1000"
        ) { row throws(PostgresError) in try row.next(String.self) }
    }

    /// What is known of the endpoints: `on` or why they were disabled, and whether all attempts fail.
    func endpoints() async throws -> [String] {
        try await pool.query(
            .worker,
            """
            SELECT CASE WHEN enabled THEN 'on' ELSE coalesce(disabled_reason, 'off') END
                || CASE WHEN failing_since IS NULL THEN '' ELSE ' failing' END
            FROM webhook_endpoint ORDER BY 1 LIMIT 1000
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
    }
}

extension DeliveryWorker {
    /// Queues what waits, as a round of the running worker does.
    func fanOut() async throws {
        try await fanOut(FanOutBatch(limits.fanOutEvents))
    }

    /// Takes what is due at the endpoints whose turn it is.
    /// - Parameter free: how many attempts there is room for; all of them when left out.
    func claim(limit: Int, free: Int? = nil) async throws -> [ClaimedDelivery] {
        try await claim(limit: limit, free: free ?? limits.concurrency, running: [:]).deliveries
    }
}
