import BillingCore
import Identity
import Logging
import Postgres
import ServiceLifecycle
import Synchronization
import Web

/// Makes deliveries of the events in the outbox and tries those that are due, many at once. Safe on every replica.
///
/// What a killed process had claimed is free again when its lease ends. When the service stops, nothing more is claimed
/// and the attempts under way are waited for.
struct DeliveryWorker: Service {
    /// What is bounded. A lease outlives any attempt.
    struct Limits: Sendable {
        /// Attempts of this process at a time.
        var concurrency = 32
        /// Attempts at one endpoint at a time, over all replicas.
        var concurrencyPerEndpoint = 4
        /// Attempts at the endpoints of one tenant at a time, over all replicas.
        var concurrencyPerTenant: Int { max(1, concurrency / 4) }
        var leaseSeconds: Int64 = 30
        var fanOutEvents = 500
        var pause = Duration.milliseconds(500)
    }

    let pool: PostgresPool
    let sender: WebhookSender
    let disabling: EndpointDisabling
    let tenants: TenantDirectory
    var limits = Limits()
    let clock: Clock
    let ids: IDSource
    let metrics: DeliveryMetrics
    let logger: Logger

    func run() async throws {
        let (claims, claimed) = AsyncStream.makeStream(of: ClaimedDelivery.self)
        let slots = Slots(limits.concurrency)
        let batch = FanOutBatch(limits.fanOutEvents)
        let loop = WorkerLoop(EndpointDisabling.worker, every: limits.pause, clock: clock, logger: logger)
        await withDiscardingTaskGroup { group in
            group.addTask {
                await loop.run { try await round(slots, batch) { claimed.yield($0) } }
                claimed.finish()
            }
            for await claim in claims {
                group.addTask {
                    await attempt(claim)
                    while let next = await following() { await attempt(next) }
                    slots.give()
                }
            }
        }
    }

    /// What is queued already is delivered whether or not more can be queued.
    private func round(
        _ slots: Slots,
        _ batch: FanOutBatch,
        _ start: (ClaimedDelivery) -> Void
    ) async throws {
        var failure: (any Error)?
        do {
            try await fanOut(batch)
        } catch {
            failure = error
        }
        try await claimDue(slots, start)
        if let failure { throw FanOutFailure(cause: failure) }
    }

    /// Queues the deliveries of every event that waits.
    func fanOut() async throws {
        try await fanOut(FanOutBatch(limits.fanOutEvents))
    }

    private func fanOut(_ batch: FanOutBatch) async throws {
        var (taken, limit) = (0, 0)
        repeat {
            limit = batch.size
            let now = clock.now()
            do {
                taken = try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { [limit] transaction in
                    try OutboxFanOut.round(limit: limit, at: now, ids: ids, in: transaction)
                }
            } catch {
                batch.shrink()
                throw error
            }
            batch.grow()
        } while taken == limit && !Task.isCancelled
    }

    private func claimDue(_ slots: Slots, _ start: (ClaimedDelivery) -> Void) async throws {
        var wanted = slots.takeAll()
        while wanted > 0, !Task.isCancelled {
            let claims: [ClaimedDelivery]
            do {
                claims = try await claim(limit: wanted)
            } catch {
                slots.give(wanted)
                throw error
            }
            claims.forEach(start)
            slots.give(wanted - claims.count)
            wanted = claims.count == wanted ? slots.takeAll() : 0
        }
    }

    /// Takes deliveries that are due.
    func claim(limit: Int) async throws -> [ClaimedDelivery] {
        let now = clock.now()
        let terms = DeliveryQueue.ClaimTerms(
            limit: limit,
            kinds: sender.kinds,
            perEndpoint: limits.concurrencyPerEndpoint,
            perTenant: limits.concurrencyPerTenant,
            leaseSeconds: limits.leaseSeconds
        )
        return try await pool.transaction(.worker) { try DeliveryQueue.claim(terms, at: now, in: $0) }
    }

    /// What is due when an attempt has ended: so an endpoint that takes quickly gets quickly, within its bound.
    private func following() async -> ClaimedDelivery? {
        guard !Task.isShuttingDownGracefully, !Task.isCancelled else { return nil }
        do {
            return try await claim(limit: 1).first
        } catch {
            logger.debug("no further delivery is claimed", metadata: ["error": "\(error)"])
            return nil
        }
    }

    /// Tries one and keeps what came of it. If that can't be kept, the lease ends and it is tried again.
    func attempt(_ claim: ClaimedDelivery) async {
        let startedAt = clock.now()
        let begun = ContinuousClock.now
        let result = await sender.send(claim, at: startedAt)
        let duration = begun.duration(to: .now)
        metrics.attempted(claim.target.kind, result.outcome, duration)
        do {
            if result.isLocal {
                try await postpone(claim, result, startedAt: startedAt, duration)
            } else {
                try await settle(claim, result, startedAt: startedAt, duration)
            }
        } catch {
            logger.warning(
                "a delivery's attempt is not recorded",
                metadata: ["delivery": "\(claim.id)", "error": "\(error)"]
            )
        }
    }

    /// Keeps that it could not be tried here, which says nothing of the endpoint.
    private func postpone(
        _ claim: ClaimedDelivery,
        _ result: AttemptResult,
        startedAt: Instant,
        _ duration: Duration
    ) async throws {
        let retryAt = RetrySchedule.afterLocalFailure(attempt: claim.attempt, at: clock.now())
        try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            DeliveryQueue.record(result, of: claim, startedAt: startedAt, duration, in: transaction)
            DeliveryQueue.postpone(claim, to: retryAt, in: transaction)
        }
    }

    private func settle(
        _ claim: ClaimedDelivery,
        _ result: AttemptResult,
        startedAt: Instant,
        _ duration: Duration
    ) async throws {
        let now = clock.now()
        let jitter = Int64.random(in: RetrySchedule.jitterPercent)
        let retryAt =
            result.isGone
            ? nil : RetrySchedule.next(afterFailures: claim.failures + 1, at: now, jitterPercent: jitter)
        let hasFailed = result.outcome == .failed
        let isLast = hasFailed && retryAt == nil
        let tenantKey = isLast ? try await tenants.keys([claim.endpoint.tenant])[claim.endpoint.tenant] : nil
        try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            let endpoint = isLast ? try WebhookEndpointStore.lock(claim.endpoint, in: transaction) : nil
            WebhookEndpointStore.note(claim.endpoint, failingSince: hasFailed ? startedAt : nil, in: transaction)
            DeliveryQueue.record(result, of: claim, startedAt: startedAt, duration, in: transaction)
            if hasFailed {
                DeliveryQueue.fail(claim, retryAt: retryAt, at: now, in: transaction)
            } else {
                DeliveryQueue.succeed(claim, at: now, in: transaction)
            }
            if let endpoint {
                let isGone = result.isGone
                try disabling.judge(endpoint, isGone: isGone, tenantKey: tenantKey, at: now, in: transaction)
            }
        }
    }
}

/// How many more attempts may begin.
private final class Slots: Sendable {
    private let free: Mutex<Int>

    init(_ count: Int) {
        free = Mutex(count)
    }

    func takeAll() -> Int {
        free.withLock { free in
            defer { free = 0 }
            return free
        }
    }

    func give(_ count: Int = 1) {
        free.withLock { $0 += count }
    }
}

/// Why events were not queued in a round.
private struct FanOutFailure: Error, CustomStringConvertible {
    let cause: any Error

    var description: String { "events are not queued: \(cause)" }
}

/// How many events are queued at a time: fewer after a failure, in case it was too much, and more again after that.
private final class FanOutBatch: Sendable {
    private let full: Int
    private let present: Mutex<Int>

    init(_ full: Int) {
        self.full = full
        present = Mutex(full)
    }

    var size: Int { present.withLock { $0 } }

    func shrink() {
        present.withLock { $0 = max(1, $0 / 2) }
    }

    func grow() {
        present.withLock { $0 = min(full, $0 * 2) }
    }
}
