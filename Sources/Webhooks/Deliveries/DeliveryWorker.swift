import BillingCore
import Identity
import Logging
import Postgres
import ServiceLifecycle
import Web

/// Makes deliveries of the events in the outbox and tries those that are due, many at once. Safe on every replica.
///
/// What a killed process had claimed is free again when its lease ends. When the service stops, nothing more is claimed
/// and the attempts under way are waited for.
struct DeliveryWorker: Service {
    /// How logs and metrics call it, and the audit log after `worker:`.
    static let name = "webhook_deliveries"

    /// What is bounded. A lease outlives any attempt.
    struct Limits: Sendable {
        /// Attempts of this process at a time.
        var concurrency = 32
        /// Attempts at one endpoint at a time, over all replicas.
        var concurrencyPerEndpoint = 4
        /// Attempts at the endpoints of one tenant at a time, over all replicas; fewer where many are slow.
        var concurrencyPerTenant: Int { max(1, concurrency / 4) }
        /// Names that are looked up at a time for the operator's endpoints, and as many for those of tenants. A lookup
        /// that hangs outlives its attempt a few times over.
        var lookups: Int { 4 * concurrency }
        var leaseSeconds: Int64 = 30
        /// What is left of a lease when an attempt begins: the time of the attempt, and of ending it.
        let attemptSeconds = Webhooks.timeoutSeconds + 2
        var fanOutEvents = 500
        /// For how long the worker makes deliveries before it looks at what is due, and then the other way round: very
        /// much may come at once, as at a month's end, and be due.
        var claimsEvery = Duration.seconds(1)
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
    private let turns = ClaimTurns()

    func run() async throws {
        let (claims, claimed) = AsyncStream.makeStream(of: ClaimedDelivery.self)
        let (ends, ended) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let slots = Slots(limits.concurrency)
        let batch = FanOutBatch(limits.fanOutEvents)
        let loop = WorkerLoop(Self.name, every: limits.pause, clock: clock, logger: logger)
        await withDiscardingTaskGroup { group in
            group.addTask {
                async let following: Void = claimFollowing(ends, slots) { claimed.yield($0) }
                await loop.run { try await round(slots, batch) { claimed.yield($0) } }
                ended.finish()
                await following
                claimed.finish()
            }
            for await claim in claims {
                group.addTask {
                    await attempt(claim)
                    slots.end(claim)
                    ended.yield()
                }
            }
        }
    }

    /// Takes what is due when attempts have ended: so an endpoint that takes quickly gets quickly, within its bound.
    /// Attempts that end while this is being looked for are followed together, because a look costs the more the more
    /// endpoints wait.
    private func claimFollowing(
        _ ends: AsyncStream<Void>,
        _ slots: Slots,
        _ start: (ClaimedDelivery) -> Void
    ) async {
        for await _ in ends where !Task.isShuttingDownGracefully && !Task.isCancelled {
            do {
                try await claimDue(slots, start)
            } catch {
                logger.debug("no further delivery is claimed", metadata: ["error": "\(error)"])
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
        var waitsMore = false
        repeat {
            do {
                waitsMore = try await fanOut(batch, until: ContinuousClock.now + limits.claimsEvery)
            } catch {
                (waitsMore, failure) = (false, error)
            }
            try await claimDue(slots, start)
        } while waitsMore && !Task.isCancelled && !Task.isShuttingDownGracefully
        if let failure { throw FanOutFailure(cause: failure) }
    }

    /// Of very many endpoints that something waits for, a claim looks at some: further ones follow until all were
    /// looked at, or a while is over.
    private func claimDue(_ slots: Slots, _ start: (ClaimedDelivery) -> Void) async throws {
        let end = ContinuousClock.now + limits.claimsEvery
        var wanted = slots.takeAll()
        var passes = turns.passes
        while wanted > 0, !Task.isCancelled {
            let claims: DeliveryQueue.Claims
            do {
                let (idle, running) = slots.present
                claims = try await claim(limit: wanted, free: idle, running: running)
            } catch {
                slots.give(wanted)
                throw error
            }
            slots.begin(claims.deliveries)
            claims.deliveries.forEach(start)
            wanted -= claims.deliveries.count
            if claims.lookedUntil == nil { passes -= 1 }
            if ContinuousClock.now >= end || wanted > 0 && passes == 0 { break }
            if wanted == 0 { (wanted, passes) = (slots.takeAll(), turns.passes) }
        }
        slots.give(wanted)
    }

    /// Takes deliveries that are due.
    /// - Parameters:
    ///   - free: how many attempts there is room for, those of the claim included.
    ///   - running: those under way here.
    func claim(
        limit: Int,
        free: Int,
        running: [WebhookEndpointID: Int]
    ) async throws -> DeliveryQueue.Claims {
        let claims = try await pool.transaction(.worker) { transaction in
            try DeliveryQueue.awaitTurn(in: transaction)
            let terms = terms(limit: limit, free: free, running: running)
            return try DeliveryQueue.claim(terms, at: clock.now(), in: transaction)
        }
        turns.note(claims)
        return claims
    }

    /// What this process may claim at this moment.
    func terms(limit: Int, free: Int, running: [WebhookEndpointID: Int] = [:]) -> DeliveryQueue.ClaimTerms {
        DeliveryQueue.ClaimTerms(
            limit: limit,
            free: free,
            kinds: sender.kinds,
            opensURLs: sender.masterKey != nil,
            perEndpoint: limits.concurrencyPerEndpoint,
            perTenant: limits.concurrencyPerTenant,
            leaseSeconds: limits.leaseSeconds,
            running: running,
            toldLast: turns.toldLast,
            lookBehind: turns.lookedUntil
        )
    }

    /// Tries one and keeps what came of it. If that can't be kept, the lease ends and it is tried again. One that was
    /// waited with until its lease is nearly over is left to whoever claims it then.
    func attempt(_ claim: ClaimedDelivery) async {
        let startedAt = clock.now()
        let begun = ContinuousClock.now
        do {
            guard let content = try await content(of: claim, at: startedAt) else { return }
            guard clock.now().adding(seconds: limits.attemptSeconds) <= claim.leasedUntil else {
                logger.warning(
                    "an attempt is not begun: its lease is nearly over",
                    metadata: ["delivery": "\(claim.id)"]
                )
                return
            }
            let result = await sender.send(content, to: claim.endpoint, at: startedAt)
            let duration = begun.duration(to: .now)
            let isPutOff =
                result.isLocal && (!result.isOfResolver || claim.attempt <= RetrySchedule.resolverAttempts)
            metrics.attempted(content.target.kind, result, isPutOff: isPutOff, duration)
            if isPutOff {
                try await postpone(claim, result, startedAt: startedAt, duration)
            } else {
                try await settle(claim, content.target, result, startedAt: startedAt, duration)
            }
        } catch {
            logger.warning(
                "a delivery's attempt is not recorded",
                metadata: ["delivery": "\(claim.id)", "error": "\(error)"]
            )
        }
    }

    /// What the attempt takes; nil when there is nothing to try. One that can't be read fails like one that can't be
    /// sent, until it is given up; the endpoint is not blamed for it.
    private func content(of claim: ClaimedDelivery, at startedAt: Instant) async throws -> ClaimedDelivery.Content? {
        do {
            return try await DeliveryQueue.content(of: claim, at: startedAt, pool: pool)
        } catch let error as PostgresError where error.isOfRows {
            metrics.wasUnreadable()
            logger.error(
                "a delivery cannot be read",
                metadata: ["delivery": "\(claim.id)", "endpoint": "\(claim.endpoint)", "error": "\(error)"]
            )
            let now = clock.now()
            let retryAt = RetrySchedule.next(afterFailures: claim.failures + 1, at: now, jitterPercent: 0)
            let isFailed = try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
                let result = AttemptResult(error: "the delivery cannot be read")
                DeliveryQueue.record(result, of: claim, startedAt: startedAt, .zero, in: transaction)
                return try DeliveryQueue.fail(claim, retryAt: retryAt, at: now, in: transaction)
            }
            if isFailed, retryAt == nil { metrics.gaveUp() }
            return nil
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
        _ target: ClaimedDelivery.Target,
        _ result: AttemptResult,
        startedAt: Instant,
        _ duration: Duration
    ) async throws {
        guard result.outcome == .succeeded else {
            return try await fail(claim, target, result, startedAt: startedAt, duration)
        }
        let now = clock.now()
        // What was taken would be sent again: a database that starts anew is waited for.
        try await pool.transaction(.worker, retries: .idempotent(attempts: 30)) { transaction in
            WebhookEndpointStore.note(claim.endpoint, as: target, failingSince: nil, in: transaction)
            DeliveryQueue.record(result, of: claim, startedAt: startedAt, duration, in: transaction)
            DeliveryQueue.succeed(claim, at: now, in: transaction)
        }
    }

    /// Keeps a failure. It counts against the endpoint only if it ends this claim, which nobody has taken over, and the
    /// endpoint still is what was tried. Where that has another URL by now, the delivery is due there at once.
    private func fail(
        _ claim: ClaimedDelivery,
        _ target: ClaimedDelivery.Target,
        _ result: AttemptResult,
        startedAt: Instant,
        _ duration: Duration
    ) async throws {
        let now = clock.now()
        let jitter = Int64.random(in: RetrySchedule.jitterPercent)
        let retryAt =
            result.isGone
            ? nil : RetrySchedule.next(afterFailures: claim.failures + 1, at: now, jitterPercent: jitter)
        let tenant = claim.endpoint.tenant
        let tenantKey = retryAt == nil ? try await tenants.keys([tenant])[tenant] : nil
        let isGivenUp = try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            let endpoint = try WebhookEndpointStore.lock(claim.endpoint, as: target, in: transaction)
            DeliveryQueue.record(result, of: claim, startedAt: startedAt, duration, in: transaction)
            guard let endpoint else {
                DeliveryQueue.postpone(claim, to: now, in: transaction)
                return false
            }
            guard try DeliveryQueue.fail(claim, retryAt: retryAt, at: now, in: transaction) else { return false }
            WebhookEndpointStore.note(endpoint.id, as: target, failingSince: startedAt, in: transaction)
            guard retryAt == nil else { return false }
            try disabling.judge(endpoint, isGone: result.isGone, tenantKey: tenantKey, at: now, in: transaction)
            return true
        }
        if isGivenUp { metrics.gaveUp() }
    }
}

/// Why events were not queued in a round.
private struct FanOutFailure: Error, CustomStringConvertible {
    let cause: any Error

    var description: String { "events are not queued: \(cause)" }
}
