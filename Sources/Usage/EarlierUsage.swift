package import BillingCore
package import Catalog
import Limits
package import Postgres
package import Web

/// Rates usage that was stored before a subscription covered it or a limit was in force. Runs in the transaction that
/// makes or extends the subscription or puts its limits in force, under the tenant's ledger lock, so that every later
/// event finds complete counters. What it writes is whole, not added, so that running it again changes nothing.
package struct EarlierUsage {
    private let tenant: TenantSnapshot
    private let catalog: CatalogSnapshot
    private let subscription: SubscriptionSnapshot
    private let start: SubscriptionStart

    /// - Throws: `Problem` 422 when a counter would leave the range of a quantity.
    package static func rate(
        _ start: SubscriptionStart,
        ids: IDSource,
        in transaction: borrowing Transaction
    ) throws {
        let earlier = EarlierUsage(
            tenant: start.tenant,
            catalog: start.catalog,
            subscription: start.subscription,
            start: start
        )
        let begun = start.isInForce ? earlier.limitsThatBegin : []
        var alerts: [AlertDraft] = []
        if start.ratesFrom != nil || !begun.isEmpty {
            if start.isInForce { QuotaRevision.lock(start.tenant, at: start.now, in: transaction) }
            do {
                alerts = try earlier.rate(beginning: begun, in: transaction)
            } catch is DecimalError {
                throw Problem.counterOverflow
            } catch is CounterOverflow {
                throw Problem.counterOverflow
            }
        }
        if start.isInForce {
            alerts += try QuotaRevision.apply(to: start.tenant, catalog: start.catalog, at: start.now, in: transaction)
        }
        try AlertStore.raise(alerts, at: start.now, ids: ids, in: transaction)
    }

    /// The time of the last event of an interval.
    package static func latest(
        of tenant: TenantID,
        in interval: Interval,
        _ transaction: borrowing Transaction
    ) throws -> Instant? {
        let last = try transaction.first(EventLogStore.bounds(tenant: tenant, interval: interval)) {
            row throws(PostgresError) in
            (try row.next(Instant?.self), try row.next(Instant?.self)).1
        }
        return last ?? nil
    }

    /// - Returns: the alerts of what is rated now and of windows that are over, for the caller to raise.
    private func rate(beginning begun: [UsageLimit], in transaction: borrowing Transaction) throws -> [AlertDraft] {
        for limit in begun {
            if let start = limit.countedFrom {
                transaction.enqueue(UsageLimitStore.startCounting(limit.id, of: tenant.id, from: start))
            }
        }
        let starts = begun.compactMap(\.countedFrom) + [countersFrom].compactMap { $0 }
        guard let from = starts.min() else { return [] }
        let interval = Interval(start: from, end: .maximum)
        let bounds = try transaction.first(EventLogStore.bounds(tenant: tenant.id, interval: interval)) {
            row throws(PostgresError) in
            (first: try row.next(Instant?.self), last: try row.next(Instant?.self))
        }
        guard let first = bounds?.first, let last = bounds?.last else { return [] }

        let periods = try periods(from: first, through: last, in: transaction)
        var recount = UsageRecount(tenant: narrowed(to: begun), periods: periods, catalog: catalog)
        if start.ratesFrom != nil { recount.alerts = UsageAlerts(at: start.now) }
        try recount.add(eventsOf: interval, in: transaction)
        let whole = periods.filter { period in
            countersFrom.map { max(period.interval.start, subscription.startsAt) >= $0 } ?? false
        }
        let states = try recount.write(countersOf: Set(whole.map(\.id)), limitsFrom: interval.start, in: transaction)
        transaction.enqueue(PeriodClosingStore.markLate(whole.map(\.tenantID), whole.map(\.id)))
        let thresholds = LimitAlerts.due(ended(states, of: recount), catalog: catalog, at: start.now, in: transaction)
        return thresholds + (recount.alerts?.drafts ?? [])
    }

    /// The windows that are over and reach into what is covered now: `QuotaRevision` tells of all others. What the
    /// limits in force allow is told of no window that ended before.
    private func ended(_ states: [LimitState], of recount: UsageRecount) -> [CountedLimit] {
        let covered = start.ratesFrom ?? start.limitsFrom
        return states.filter { covered < $0.windowEnd && $0.windowEnd <= start.now }.compactMap { state in
            recount.limit(state.row.limit).map { CountedLimit(limit: Limit($0), state: state, tenantKey: tenant.key) }
        }
    }

    /// Where the first period starts whose counters are to be counted anew; nil where they stand as they are.
    private var countersFrom: Instant? {
        start.ratesFrom.map { from in
            max(subscription.startsAt, subscription.period(containing: from)?.interval.start ?? from)
        }
    }

    /// The limits whose counting now begins, or begins earlier than it did because more time is covered: at the start
    /// of the window that contains `limitsFrom`. `countedFrom` is where it begins.
    private var limitsThatBegin: [UsageLimit] {
        let windows = CalendarWindows(zone: tenant.zone)
        return tenant.limits.compactMap { limit in
            let from = start.limitsFrom
            let begin =
                limit.window == .billingPeriod
                ? max(subscription.startsAt, subscription.period(containing: from)?.interval.start ?? from)
                : windows.window(limit.window, containing: from).start
            if let countedFrom = limit.countedFrom,
                countedFrom <= begin || countedFrom <= start.ratesFrom ?? .maximum
            {
                return nil
            }
            return limit.counting(from: begin)
        }
    }

    /// The tenant with no subscription but this one, so that no other one's counters are touched.
    private func narrowed(to begun: [UsageLimit]) -> TenantSnapshot {
        TenantSnapshot(
            id: tenant.id,
            key: tenant.key,
            name: tenant.name,
            currency: tenant.currency,
            zone: tenant.zone,
            catalogVersion: tenant.catalogVersion,
            subscriptions: [subscription],
            limits: begun + tenant.limits.filter { limit in !begun.contains { $0.id == limit.id } }
        )
    }

    private func periods(
        from first: Instant,
        through last: Instant,
        in transaction: borrowing Transaction
    ) throws -> [BillingPeriod] {
        let start = max(first, subscription.startsAt)
        let end = subscription.endsAt.map { min(last, $0.adding(microseconds: -1)) } ?? last
        guard start <= end,
            let firstIndex = subscription.period(containing: start)?.index,
            let lastIndex = subscription.period(containing: end)?.index
        else { return [] }
        let wanted = (firstIndex...lastIndex).flatMap { index in
            subscription.segments(inPeriod: index).map { part in
                BillingPeriod.Wanted(
                    tenantID: tenant.id,
                    subscriptionID: subscription.id,
                    index: index,
                    segment: part.segment.ordinal,
                    interval: subscription.interval(ofPeriod: index)
                )
            }
        }
        return try BillingPeriodStore.ensure(wanted, in: transaction)
    }
}

extension UsageRecount {
    /// Writes what was counted, whole: the counters of some periods, and the limits' windows. Windows that began before
    /// `start` were counted in part only and are left alone.
    /// - Returns: the limits' windows as they are then.
    fileprivate func write(
        countersOf periods: Set<BillingPeriodID>,
        limitsFrom start: Instant,
        in transaction: borrowing Transaction
    ) throws -> [LimitState] {
        let rows = try rows().filter { periods.contains($0.key.period) }
        CounterStore.enqueue(rows, in: transaction)
        let distinct = rows.map(\.key).flatMap { counter in
            distinctValues(of: counter).map { DistinctChange(counter: counter, value: $0.key, references: $0.value) }
        }
        if !distinct.isEmpty { transaction.enqueue(DistinctStore.replace(distinct)) }
        let usage = limits.filter { $0.key.isWhole(from: start) }.compactMap { key, amount -> LimitChange? in
            limit(key.limit).map { limit in
                var change = LimitChange(
                    row: LimitRow(tenant: tenantID, limit: key.limit, windowStart: key.window.start),
                    windowEnd: key.window.end,
                    amount: limit.amount,
                    revision: limit.revision
                )
                change.used = amount
                change.overshoot = amount
                return change
            }
        }
        guard !usage.isEmpty else { return [] }
        return try transaction.query(LimitStateStore.replaceUse(usage), LimitStateStore.decode)
    }
}

extension UsageRecount.WindowKey {
    fileprivate func isWhole(from start: Instant) -> Bool { window.start >= start }
}

extension UsageLimit {
    fileprivate func counting(from start: Instant) -> UsageLimit {
        UsageLimit(
            id: id,
            featureID: featureID,
            window: window,
            amount: amount,
            mode: mode,
            overage: overage,
            revision: revision,
            isActive: isActive,
            countedFrom: start
        )
    }
}
