import BillingCore
import Catalog
import Limits
import Postgres

/// What is stored of a tenant's usage as of one ledger sequence, apart from the raw events.
struct StoredUsage: Sendable {
    let tenant: TenantSnapshot
    let catalog: CatalogSnapshot
    let periods: [BillingPeriod]
    let ledgerSequence: Int64
    /// When it was read.
    let now: Instant
    private let counters: [CounterKey: CounterRow]
    private let limits: [LimitState]
    private let distinct: [CounterKey: (values: Int64, references: Int64)]
    private let claimedKeys: Int64
    /// What it says has no cost.
    let unpriced: [UnpricedKey: UnpricedChanges.Count]
    /// Windows of budgets.
    let budgets: [LimitState]
    let budgetStarts: [BudgetStart]
    /// Of the tenant's subscriptions.
    let coverage: [SubscriptionID: SubscriptionCoverage]
    /// When what the tenant subscribes to was changed last.
    let plansChangedAt: Instant?

    /// Reads it in one snapshot, without a lock: whoever changes usage commits sequence, events and counters at once.
    /// `nil` when the tenant has no row or no ledger.
    /// - Parameter known: the catalogue as read for another tenant; only what has changed since is read again.
    init?(
        tenant id: TenantID,
        now: Instant,
        reusing known: CatalogSnapshot,
        in transaction: borrowing Transaction
    ) throws {
        try transaction.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        let sequence = try transaction.first("SELECT ledger_seq FROM tenant_ledger WHERE tenant_id = \(id)") {
            row throws(PostgresError) in try row.next(Int64.self)
        }
        guard let sequence,
            let tenant = try TenantSnapshotStore.read([id], plans: [:], now: now, in: transaction).first
        else { return nil }
        self.tenant = tenant
        self.now = now
        ledgerSequence = sequence
        catalog = try CatalogSnapshotStore.read(reusing: known, in: transaction)
        periods = try BillingPeriodStore.all(of: id, in: transaction)
        let results = try transaction.pipeline([
            CounterStore.counters(tenant: id), LimitStateStore.quotaStates(tenant: id),
            DistinctStore.totals(tenant: id),
            "SELECT count(*) FROM event_dedup WHERE tenant_id = \(id)",
            UnpricedUsageStore.counts(of: id),
            LimitStateStore.budgetStates(tenant: id), BudgetStart.ofBudgets(countingFor: id),
            "SELECT max(greatest(created_at, updated_at)) FROM subscription WHERE tenant_id = \(id)",
        ])
        let rows = try results[0].map(CounterStore.decode)
        counters = Dictionary(rows.map { ($0.key, $0) }) { first, _ in first }
        limits = try results[1].map(LimitStateStore.decode)
        let totals = try results[2].map { row throws(PostgresError) in
            (
                CounterKey(tenant: try row.next(), period: try row.next(), feature: try row.next()),
                (values: try row.next(Int64.self), references: try row.next(Int64.self))
            )
        }
        distinct = Dictionary(totals) { first, _ in first }
        claimedKeys = try results[3].map { row throws(PostgresError) in try row.next(Int64.self) }.first ?? 0
        unpriced = Dictionary(try results[4].map(UnpricedUsageStore.decodeCount)) { first, _ in first }
        budgets = try results[5].map(LimitStateStore.decode)
        coverage = try SubscriptionStore.coverage(of: id, in: transaction)
        budgetStarts = try results[6].map(BudgetStart.decode)
        plansChangedAt = try results[7].map { row throws(PostgresError) in try row.next(Instant?.self) }.first ?? nil
    }

    /// Compares with what the raw events give.
    /// - Parameter eventRows: how many rows the raw log has, reversals included.
    func differences(from recount: UsageRecount, eventRows: Int) throws -> [UsageDifference] {
        var found: [UsageDifference] = []
        func compare<Value: CustomStringConvertible>(_ subject: String, _ stored: Value, _ rebuilt: Value) {
            guard stored.description != rebuilt.description else { return }
            found.append(
                UsageDifference(
                    tenant: tenant.key,
                    subject: subject,
                    stored: stored.description,
                    rebuilt: rebuilt.description
                )
            )
        }
        compare("the number of event keys", claimedKeys, Int64(eventRows))
        let rows = Dictionary(try recount.rows().map { ($0.key, $0) }) { first, _ in first }
        for key in Set(counters.keys).union(recount.counters.keys).union(distinct.keys).sorted() {
            let row = counters[key]
            let state = row?.state ?? CounterState()
            let rebuilt = recount.counters[key] ?? CounterState()
            let cell = key.isPooled ? "" : ", cell \(key.cell)"
            let name = "counter \(featureKey(key.feature)), period \(key.period)\(cell)"
            compare("\(name): quantity", state.quantity, rebuilt.quantity)
            compare("\(name): event count", state.eventCount, rebuilt.eventCount)
            compare("\(name): provider cost", state.cost, rebuilt.cost)
            // A counter of before all were noted may say less.
            if state.uncosted.isExact || state.uncosted.eventCount > rebuilt.uncosted.eventCount {
                compare("\(name): events without a cost", state.uncosted.eventCount, rebuilt.uncosted.eventCount)
                compare("\(name): quantity without a cost", state.uncosted.quantity, rebuilt.uncosted.quantity)
            }
            compare("\(name): charge", row?.charge ?? .zero, rows[key]?.charge ?? .zero)
            if let running = row?.runningQuantity {
                let counted = rows[key]?.runningQuantity ?? rebuilt.quantity
                compare("\(name): quantity through the segment", running, counted)
            }
            if state.ledgerSequence > 0 {
                compare("\(name): ledger sequence", state.ledgerSequence, rebuilt.ledgerSequence)
            }
            if let winner = rebuilt.winner, winner != state.winner {
                let name = "\(name): winner"
                if state.winner?.id == winner.id {
                    compare(name, state.winner?.text ?? "none", winner.text)
                } else {
                    compare(name, state.winner?.id ?? "none", winner.id)
                }
            }
            if countsDistinctValues(key.feature) {
                let seen = distinct[key] ?? (values: 0, references: 0)
                compare("\(name): distinct values", FixedDecimal(seen.values), rebuilt.quantity)
                compare("\(name): references of distinct values", seen.references, rebuilt.eventCount)
            }
        }
        found += limitDifferences(from: recount)
        return found
    }

    private func limitDifferences(from recount: UsageRecount) -> [UsageDifference] {
        struct Window: Hashable, Comparable {
            let limit: LimitID
            let start: Instant
            let end: Instant

            static func < (left: Self, right: Self) -> Bool { (left.limit, left.start) < (right.limit, right.start) }
        }
        let stored = limits.map { state in
            (Window(limit: state.row.limit, start: state.row.windowStart, end: state.windowEnd), state.balance.used)
        }
        let rebuilt = recount.limits.map { key, used in
            (Window(limit: key.limit, start: key.window.start, end: key.window.end), used)
        }
        let storedUse = Dictionary(stored) { first, _ in first }
        let rebuiltUse = Dictionary(rebuilt) { first, _ in first }
        return Set(storedUse.keys).union(rebuiltUse.keys).sorted().compactMap { window in
            guard !LimitRetention.mayBeGone(windowUntil: window.end, at: now) else { return nil }
            let stored = storedUse[window] ?? .zero
            let rebuilt = rebuiltUse[window] ?? .zero
            guard stored != rebuilt else { return nil }
            return UsageDifference(
                tenant: tenant.key,
                subject: "limit \(window.limit), window from \(window.start): used",
                stored: stored.description,
                rebuilt: rebuilt.description
            )
        }
    }

    private func countsDistinctValues(_ id: FeatureID) -> Bool {
        let meter = catalog.features[id].flatMap { catalog.meters[$0.meterID] }
        return meter?.definition.aggregation == .uniqueCount
    }

    private func featureKey(_ id: FeatureID) -> String {
        catalog.features[id]?.key ?? "feature \(id)"
    }
}

extension CounterWinner {
    fileprivate var text: String { "\(id) (\(key)) at \(time)" }
}
