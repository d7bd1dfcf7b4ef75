import BillingCore
import Catalog
import Limits
import Postgres

/// Counts anew what budgets with windows have used by a tenant's raw events, as of one place in its ledger, by the code
/// that told which budgets and windows they count in when they were stored.
///
/// A window is left out where it can't be told any more what counted in it: the plan of a time depends on when the
/// subscription was changed, and a cost that was found out meanwhile, or converted, on when it was.
struct BudgetRecount {
    private let tenant: TenantSnapshot
    private let catalog: CatalogSnapshot
    private let starts: [LimitID: BudgetStart]
    private let counted: CountedUses
    private let throughSequence: Int64
    private let plansChangedAt: Instant?
    private var matching: LimitMatching
    private var windows: WindowCache
    private var locator: PeriodLocator
    private(set) var use = Use()

    /// What rows have used, and those of which it can't be told.
    struct Use {
        var amounts: [LimitRow: FixedDecimal] = [:]
        var windowEnds: [LimitRow: Instant] = [:]
        var untold: Set<LimitRow> = []

        mutating func add(_ other: Use) throws(DecimalError) {
            untold.formUnion(other.untold)
            windowEnds.merge(other.windowEnds) { first, _ in first }
            for (row, amount) in other.amounts { amounts[row] = try amounts[row, default: .zero].adding(amount) }
        }
    }

    /// - Parameters:
    ///   - catalog: as of the same moment.
    ///   - coverage: of the tenant's subscriptions.
    ///   - plansChangedAt: when the tenant's plans changed last; nil where they never did.
    init(
        tenant: TenantSnapshot,
        catalog: CatalogSnapshot,
        starts: [BudgetStart],
        coverage: [SubscriptionID: SubscriptionCoverage],
        throughSequence: Int64,
        plansChangedAt: Instant?,
        operatorZone: Zone
    ) {
        self.tenant = tenant
        self.catalog = catalog
        self.starts = Dictionary(starts.map { ($0.limit, $0) }) { first, _ in first }
        counted = CountedUses(budgets: self.starts, subscriptions: coverage)
        self.throughSequence = throughSequence
        self.plansChangedAt = plansChangedAt
        matching = LimitMatching(shared: catalog, operatorZone: operatorZone)
        windows = WindowCache(zone: tenant.zone)
        locator = PeriodLocator(tenant: tenant)
    }

    /// Folds in one event that is not voided.
    mutating func add(_ stored: StoredEvent) throws(DecimalError) {
        guard !starts.isEmpty, stored.reversalOf == nil, stored.ledgerSequence <= throughSequence else { return }
        let place = locator.place(of: stored.time)
        let measurements = Metering.measureStored(
            stored.event,
            features: catalog.features(of: stored.event.type, at: stored.catalogVersion),
            under: place?.planVersion
        )
        let used = LimitedUse(stored, measurements: measurements, place: place)
        for part in matching.uses(of: used, by: tenant, windows: &windows) {
            guard starts[part.limit.id] != nil, counted.counted(stored, in: part.limit, at: place) else { continue }
            if part.limit.measure == .cost, !isCostTold(stored, in: part.limit.currency) {
                use.untold.insert(part.row)
            } else if case .known(let amount) = part.amount {
                use.amounts[part.row] = try use.amounts[part.row, default: .zero].adding(amount)
                use.windowEnds[part.row] = part.window.end
            }
        }
    }

    private func isCostTold(_ stored: StoredEvent, in currency: Currency?) -> Bool {
        guard let cost = stored.cost else { return true }
        return cost.currency == currency && stored.laterRating.map { $0.ledgerSequence <= throughSequence } ?? true
    }

    /// - Parameter now: when the states were read.
    func differences(from states: [LimitState], at now: Instant) -> [UsageDifference] {
        Self.differences(of: use, from: states, at: now, starts: starts, owner: tenant.key) { row, start in
            guard start.dependsOnPlan, let plansChangedAt else { return true }
            return row.windowStart > plansChangedAt
        }
    }

    static func differences(
        of use: Use,
        from states: [LimitState],
        at now: Instant,
        starts: [LimitID: BudgetStart],
        owner: String,
        where isTold: (LimitRow, BudgetStart) -> Bool
    ) -> [UsageDifference] {
        let stored = Dictionary(states.map { ($0.row, $0.balance.used) }) { first, _ in first }
        let rows = Set(stored.keys).union(use.amounts.keys).subtracting(use.untold)
        let ends = use.windowEnds.merging(states.map { ($0.row, $0.windowEnd) }) { _, stored in stored }
        return rows.sorted(by: Self.isBefore).compactMap { row in
            guard let start = starts[row.limit], isTold(row, start), let end = ends[row],
                !LimitRetention.mayBeGone(windowUntil: end, at: now)
            else { return nil }
            let (left, right) = (stored[row] ?? .zero, use.amounts[row] ?? .zero)
            guard left != right else { return nil }
            let value = row.scopeValue.isEmpty ? "" : " of \(row.scopeValue)"
            return UsageDifference(
                tenant: owner,
                subject: "budget \(start.key)\(value), window from \(row.windowStart): used",
                stored: left.description,
                rebuilt: right.description
            )
        }
    }

    private static func isBefore(_ left: LimitRow, _ right: LimitRow) -> Bool {
        (left.limit, left.windowStart, left.scopeValue) < (right.limit, right.windowStart, right.scopeValue)
    }
}

/// The budgets over all tenants as of one moment, and what the tenants' events give of them up to then.
struct OperatorBudgets {
    private let catalog: CatalogSnapshot
    private let starts: [BudgetStart]
    private let states: [LimitState]
    private let sequences: [TenantID: Int64]
    private let operatorZone: Zone
    private let now: Instant
    private var use = BudgetRecount.Use()
    /// Whether a tenant's part could not be counted: that is told of the tenant, and of all tenants nothing follows.
    var isIncomplete = false

    /// Reads them in one snapshot, with every tenant's place in its ledger.
    init(operatorZone: Zone, at now: Instant, in transaction: borrowing Transaction) throws {
        try transaction.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        self.operatorZone = operatorZone
        self.now = now
        catalog = try CatalogSnapshotStore.read(reusing: .empty, in: transaction)
        let results = try transaction.pipeline([
            BudgetStart.ofBudgets(countingFor: .operatorWide), LimitStateStore.budgetStates(tenant: .operatorWide),
            "SELECT tenant_id, ledger_seq FROM tenant_ledger",
        ])
        // Whose plan an event was under is not told by a row over all tenants.
        starts = try results[0].map(BudgetStart.decode).filter { !$0.dependsOnPlan }
        states = try results[1].map(LimitStateStore.decode)
        let places = try results[2].map { row throws(PostgresError) in
            (try row.next(TenantID.self), try row.next(Int64.self))
        }
        sequences = Dictionary(places) { first, _ in first }
    }

    /// The tenant's place in its ledger; nil where nothing of it is asked for.
    func sequence(of tenant: TenantID) -> Int64? {
        starts.isEmpty ? nil : sequences[tenant]
    }

    func recount(of tenant: TenantSnapshot, throughSequence: Int64) -> BudgetRecount {
        BudgetRecount(
            tenant: tenant,
            catalog: catalog,
            starts: starts,
            coverage: [:],
            throughSequence: throughSequence,
            plansChangedAt: nil,
            operatorZone: operatorZone
        )
    }

    mutating func add(_ recount: BudgetRecount) throws(DecimalError) {
        try use.add(recount.use)
    }

    var differences: [UsageDifference] {
        guard !isIncomplete else { return [] }
        let byID = Dictionary(starts.map { ($0.limit, $0) }) { first, _ in first }
        return BudgetRecount.differences(of: use, from: states, at: now, starts: byID, owner: "0") { _, _ in true }
    }
}
