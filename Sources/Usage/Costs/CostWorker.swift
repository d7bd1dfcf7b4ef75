package import BillingCore
package import Catalog
package import Logging
import Metrics
package import Postgres
import ServiceLifecycle
package import Web

/// Rates usage that was unpriced once the price book or the exchange rates have something to say, and tells how much is
/// left. Safe on every replica: a tenant's events are rated under its ledger lock, and what is rated is not looked at
/// again.
package struct CostWorker: Service {
    private static let batchCount = 500

    private let catalog: Catalog
    private let pool: PostgresPool
    private let policy: CostPolicy
    private let limits: LimitPolicy
    private let clock: Clock
    private let logger: Logger
    private let loop: WorkerLoop
    private let priceSets = PriceSets()
    private let left: [UnpricedReason: Gauge]

    package init(
        catalog: Catalog,
        pool: PostgresPool,
        policy: CostPolicy,
        clock: Clock,
        ids: IDSource,
        operatorZone: Zone = .utc,
        interval: Duration = .seconds(5),
        logger: Logger
    ) {
        self.catalog = catalog
        self.pool = pool
        self.policy = policy
        self.clock = clock
        limits = LimitPolicy(operatorZone: operatorZone, ids: ids)
        self.logger = logger
        loop = WorkerLoop("cost_rating", every: interval, clock: clock, logger: logger)
        left = Dictionary(
            uniqueKeysWithValues: UnpricedReason.allCases.map { reason in
                (reason, Gauge(label: "turnpike_unpriced_events", dimensions: [("reason", reason.rawValue)]))
            }
        )
    }

    /// Has price sets asked for again: the database may not be the one that it was.
    package func forgetStored() { priceSets.forgetAll() }

    package func run() async throws {
        await loop.run {
            try await rateUnpriced()
            try await tellWhatIsLeft()
        }
    }

    /// Tries everything that was not tried with the present price book, and returns how many events have a cost now.
    /// - Throws: what kept some usage from being tried, once everything else was; that is tried the next time.
    @discardableResult
    package func rateUnpriced() async throws -> Int {
        var rated = 0
        var failure: (any Error)?
        var keys: [UnpricedKey] = []
        repeat {
            let costs = catalog.current.costs
            keys = try await pool.query(
                .worker,
                UnpricedUsageStore.untried(with: costs.version, after: keys.last, limit: Self.batchCount),
                UnpricedUsageStore.decodeKey
            )
            var tried: [UnpricedKey] = []
            for key in keys where !Task.isCancelled {
                do {
                    rated += try await rate(key, costs)
                    if !Task.isCancelled { tried.append(key) }
                } catch  where !Task.isCancelled && !error.isOfAll {
                    failure = failure ?? error
                }
            }
            try await settle(tried, triedWith: costs.version)
        } while keys.count == Self.batchCount && !Task.isCancelled
        if rated > 0 { logger.info("rated usage that was unpriced", metadata: ["events": "\(rated)"]) }
        if let failure { throw failure }
        return rated
    }

    private func settle(_ keys: [UnpricedKey], triedWith version: Int64) async throws {
        guard !keys.isEmpty else { return }
        try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            try UnpricedUsageStore.settle(keys, triedWith: version, in: transaction)
        }
    }

    /// How many events have a cost now: none where they can't be counted, which says nothing of the others.
    private func rate(_ key: UnpricedKey, _ costs: CostCatalog) async throws -> Int {
        do {
            guard try await mayBeRated(key, costs) else { return 0 }
            return try await CostRerating(
                key: key,
                catalog: catalog,
                pool: pool,
                policy: policy,
                limits: limits,
                priceSets: priceSets,
                clock: clock
            ).run()
        } catch  where error.isOfData {
            logger.error(
                "usage cannot be rated: its cost, or what it counts in, leaves the range of an amount",
                metadata: ["tenant_id": "\(key.tenant)", "model": "\(key.model)", "error": "\(error)"]
            )
            return 0
        }
    }

    /// Whether it is worth looking at the events: whether anything could price them.
    private func mayBeRated(_ key: UnpricedKey, _ costs: CostCatalog) async throws -> Bool {
        switch key.reason {
        case .price:
            let provider = key.provider.isEmpty ? nil : key.provider
            return !key.model.isEmpty && !costs.prices.candidates(provider: provider, model: key.model).isEmpty
        case .fxRate:
            guard let tenant = try await catalog.tenant(key.tenant, lane: .worker) else { return false }
            return costs.rates.hasRates(to: tenant.currency)
        }
    }

    private func tellWhatIsLeft() async throws {
        let totals = try await pool.query(.worker, UnpricedUsageStore.totals) { row throws(PostgresError) in
            (try row.next(UnpricedReason.self), try row.next(Int64.self))
        }
        let counts = Dictionary(totals) { first, _ in first }
        for (reason, gauge) in left { gauge.record(counts[reason] ?? 0) }
    }
}

extension Error {
    /// Whether the database can't be had, or takes no writes. A statement or a lock that took too long says nothing of
    /// others.
    fileprivate var isOfAll: Bool {
        guard let error = self as? PostgresError else { return false }
        return error.isUnavailable && error.kind != .timeout && !error.isLockTimeout
    }
}
