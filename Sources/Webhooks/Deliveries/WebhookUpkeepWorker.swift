import BillingCore
import Identity
import Logging
import Postgres
import ServiceLifecycle
import Web

/// Seals URLs that were stored as they are, forgets events and deliveries after 30 days and secrets that sign no more,
/// ends what waits for nobody, and measures what waits. Safe on every replica.
struct WebhookUpkeepWorker: Service {
    static let keptSeconds: Int64 = 30 * 86_400
    private static let batch = 1_000

    let pool: PostgresPool
    /// Nil leaves URLs as they are.
    var masterKey: MasterKey?
    let metrics: DeliveryMetrics
    let clock: Clock
    let logger: Logger

    func run() async throws {
        await WorkerLoop("webhook_upkeep", every: .seconds(60), clock: clock, logger: logger).run {
            var failure: (any Error)?
            // What one of them meets keeps none of the others from being done.
            for step in [sealURLs, cancel, clearPreviousSecrets, measure, sweepDeliveries, sweepEvents] {
                do {
                    try await step()
                } catch {
                    failure = failure ?? error
                }
            }
            if let failure { throw failure }
        }
    }

    func sealURLs() async throws {
        guard let masterKey else { return }
        try await WorkerLoop.drain(Self.batch) { limit in
            let plain = try await WebhookEndpointStore.plainURLs(limit: limit, pool: pool)
            for (id, url) in plain {
                let sealed = try SealedURL.seal(url, of: id, masterKey)
                let shown = WebhookEndpoint.origin(of: url)
                try await WebhookEndpointStore.seal(url, of: id, as: sealed, shown: shown, pool: pool)
            }
            return plain.count
        }
    }

    /// Ends what was left waiting for an endpoint when it was disabled.
    func cancel() async throws {
        try await WorkerLoop.drain(DeliveryQueue.cancelBatch) { limit in
            try await DeliveryQueue.cancelWaitingForDisabled(at: clock.now(), limit: limit, pool: pool)
        }
    }

    func clearPreviousSecrets() async throws {
        try await WorkerLoop.drain(Self.batch) { limit in
            try await WebhookEndpointStore.clearPreviousSecrets(at: clock.now(), limit: limit, pool: pool)
        }
    }

    func measure() async throws {
        let now = clock.now()
        guard let backlog = try await DeliveryLog.backlog(at: now, pool: pool) else { return }
        let age = backlog.dueSince.map { (now.microseconds - $0.microseconds) / 1_000_000 } ?? 0
        metrics.waits(backlog.count, oldestSeconds: max(0, age))
    }

    /// Forgets deliveries, before the events they are of. Where one statement would take too long for all their
    /// attempts, fewer are forgotten at a time; and of one that has too many itself, these first.
    func sweepDeliveries() async throws {
        let time = keptSince
        var limit = Self.batch
        while !Task.isCancelled {
            do {
                let waited = try await DeliveryLog.removeDeliveries(before: time, limit: limit, pool: pool)
                metrics.forgot(waited.count { $0 })
                guard waited.count == limit else { return }
                limit = min(Self.batch, 2 * limit)
            } catch let error as PostgresError where error.kind == .timeout && limit > 1 {
                limit /= 2
            } catch let error as PostgresError where error.kind == .timeout {
                guard try await sweepAttemptsOfOldest(before: time) > 0 else { throw error }
            }
        }
    }

    /// - Returns: how many there were.
    private func sweepAttemptsOfOldest(before time: Instant) async throws -> Int {
        var count = 0
        try await WorkerLoop.drain(DeliveryQueue.attemptBatch) { limit in
            let removed = try await DeliveryLog.removeAttempts(ofOldestBefore: time, limit: limit, pool: pool)
            count += removed
            return removed
        }
        return count
    }

    func sweepEvents() async throws {
        let time = keptSince
        try await WorkerLoop.drain(Self.batch) { limit in
            try await DeliveryLog.removeEvents(before: time, limit: limit, pool: pool)
        }
    }

    private var keptSince: Instant { clock.now().adding(seconds: -Self.keptSeconds) }
}
