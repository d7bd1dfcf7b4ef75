package import BillingCore
package import Catalog
package import Limits
package import Postgres

/// What a transaction changes in limits, put together in memory and written once.
package struct LimitTally {
    private struct Entry {
        var change: LimitChange
        /// Nil where only a hold is freed.
        var limit: Limit?
        var tenant: TenantSnapshot?
        /// Whether what it holds follows from quantities in rows beside it.
        var followsTiers = false
        /// Whether usage was taken out again.
        var isVoid = false
        /// The least that what is used had changed by after any of the events. Nil where only a hold is freed.
        var leastUsed: FixedDecimal?

        var countsCharges: Bool { followsTiers || limit?.measure == .charge }

        /// What was used before, of a row whose changes but those of limits on all charges are added up already.
        func before(_ state: LimitState) throws(DecimalError) -> FixedDecimal {
            guard !followsTiers else { return max(.zero, state.balance.used) }
            let before = try state.balance.used.subtracting(change.used)
            return countsCharges ? max(.zero, before) : before
        }

        /// What is used after the events if it stops at zero after each of them (Lindley's recursion).
        /// - Parameter before: what was used before them.
        func used(after before: FixedDecimal) throws(DecimalError) -> FixedDecimal {
            guard let leastUsed else { return before }
            return try max(before.adding(change.used), change.used.subtracting(leastUsed))
        }
    }

    private var entries: [LimitRow: Entry] = [:]

    package init() {}

    /// Counts use, of which a reservation held so much.
    /// - Throws: `DecimalError.outOfRange` when a sum leaves the range of a quantity.
    package mutating func use(
        _ use: LimitUse,
        _ amount: FixedDecimal,
        releasing hold: FixedDecimal = .zero,
        by tenant: TenantSnapshot
    ) throws(DecimalError) {
        try change(use, by: tenant) { (change) throws(DecimalError) in
            if use.limit.followsTiers {
                change.used = try change.used.adding(amount)
            } else {
                try change.use(amount, releasing: hold)
            }
        }
    }

    /// Takes voided use out again.
    package mutating func withdraw(
        _ use: LimitUse,
        _ amount: FixedDecimal,
        by tenant: TenantSnapshot
    ) throws(DecimalError) {
        try change(use, by: tenant) { (change) throws(DecimalError) in
            if use.limit.followsTiers {
                change.used = try change.used.subtracting(amount)
            } else {
                try change.withdraw(amount)
            }
        }
        entries[use.row]?.isVoid = true
    }

    /// Frees what a reservation of the tenant held of a row that its use does not count in. A row of which it held
    /// nothing need not be there any more.
    package mutating func release(
        _ hold: FixedDecimal,
        of row: LimitRow,
        by tenant: TenantSnapshot
    ) throws(DecimalError) {
        guard !hold.isZero else { return }
        try entries[row, default: Entry(change: LimitChange(keeping: row))].change.use(.zero, releasing: hold)
        guard let main = ChargeHolds.mainRow(beside: row) else { return }
        var entry = entries[main] ?? Entry(change: LimitChange(keeping: main))
        entry.tenant = tenant
        entry.followsTiers = true
        entries[main] = entry
    }

    private mutating func change(
        _ use: LimitUse,
        by tenant: TenantSnapshot,
        _ body: (inout LimitChange) throws(DecimalError) -> Void
    ) throws(DecimalError) {
        func change(_ entry: inout Entry) throws(DecimalError) {
            if entry.limit == nil {
                // Until now it was freed alone, which says nothing of the window, nor of the amount in force.
                let released = entry.change.released
                entry.change = LimitChange(use)
                entry.change.released = released
            }
            entry.limit = use.limit
            entry.tenant = tenant
            entry.followsTiers = use.limit.followsTiers
            try body(&entry.change)
            entry.leastUsed = min(entry.leastUsed ?? entry.change.used, entry.change.used)
        }
        try change(&entries[use.row, default: Entry(change: LimitChange(use))])
    }

    /// Writes the changes, and works out anew what limits on charges hold.
    /// - Parameters:
    ///   - charged: tenants whose charges the usage moves. What their limits on charges hold follows that, also of
    ///     those that it does not count in.
    ///   - isVoid: whether the usage is taken out again.
    /// - Returns: the alerts of thresholds that were crossed, for the caller to raise.
    /// - Throws: `StaleCatalog` where a budget was changed meanwhile.
    package func write(
        _ surroundings: LimitSurroundings,
        chargesMovedOf charged: [TenantSnapshot] = [],
        isVoid: Bool = false,
        in transaction: borrowing Transaction
    ) throws -> [AlertDraft] {
        let entries = try withHeldWindows(of: charged, isVoid, surroundings, in: transaction)
        guard !entries.isEmpty else { return [] }
        // What is used of limits on charges is written with what they hold then. An amount that comes into force in
        // their rows here leaves above it what was used and held before; what more there is, `recompute` tells.
        let changes = entries.values.map { $0.followsTiers ? $0.change.withoutUse : $0.change }
        var states = try transaction.query(LimitStateStore.count(changes), LimitStateStore.decode)
        // Thresholds are those of the budgets as they were read, before their rows were locked.
        let isRevised = states.contains { state in
            guard let limit = entries[state.row]?.limit, case .budget = limit.origin else { return false }
            return limit.revision < state.revision
        }
        guard !isRevised else { throw StaleCatalog(tenants: [], shared: true) }
        let before = try states.map { try entries[$0.row]?.before($0) ?? $0.balance.used }
        let after = try usedAfterwards(states, before, entries, in: transaction)
        floorCharges(&states, to: after, of: entries, in: transaction)
        let computed = try ChargeHolds.recompute(
            try states.indices.compactMap { index in
                let state = states[index]
                guard let entry = entries[state.row], entry.followsTiers, let tenant = entry.tenant else { return nil }
                let floored = try after[index].subtracting(state.balance.used.adding(entry.change.used))
                return (state, after[index], floored, entry.isVoid, tenant)
            },
            in: transaction
        )
        for (index, state) in states.enumerated() {
            guard let held = computed[state.row] else { continue }
            states[index].balance.held = held
            states[index].balance.used = after[index]
        }
        let counted = try states.indices.compactMap { index -> CountedLimit? in
            let state = states[index]
            guard let entry = entries[state.row], let limit = entry.limit else { return nil }
            let isOver = limit.isOver(state, of: entry.tenant, at: surroundings.now)
            return CountedLimit(
                limit: limit,
                state: state,
                tenantKey: entry.tenant?.key,
                addedAfterwards: isOver ? try state.balance.used.subtracting(before[index]) : nil
            )
        }
        return LimitAlerts.due(counted, catalog: surroundings.shared, at: surroundings.now, in: transaction)
    }
}

extension LimitTally {
    /// What is used of each row in the end. Voided usage whose charge was below zero gives back first by how much it
    /// would have fallen below zero.
    private func usedAfterwards(
        _ states: [LimitState],
        _ before: [FixedDecimal],
        _ entries: [LimitRow: Entry],
        in transaction: borrowing Transaction
    ) throws -> [FixedDecimal] {
        let raised = states.map(\.row).filter { row in
            entries[row].map { $0.isVoid && $0.countsCharges && $0.change.used > .zero } ?? false
        }
        let floored =
            raised.isEmpty
            ? [] : try transaction.query(LimitStateStore.floored(of: raised), LimitStateStore.decodeFloored)
        let givenBack = Dictionary(floored.map { ($0.row, $0.amount) }) { first, _ in first }
        return try zip(states, before).map { state, before in
            guard let entry = entries[state.row], entry.countsCharges else { return state.balance.used }
            let back = min(givenBack[state.row] ?? .zero, entry.change.used)
            return try entry.used(after: before).subtracting(max(.zero, back))
        }
    }

    /// Writes what is used of those limits on some charges of which it is other than what was added up. See
    /// `LimitStateStore.floor`.
    private func floorCharges(
        _ states: inout [LimitState],
        to used: [FixedDecimal],
        of entries: [LimitRow: Entry],
        in transaction: borrowing Transaction
    ) {
        var floored: [(row: LimitRow, used: FixedDecimal, denies: Bool)] = []
        for (index, state) in states.enumerated() where used[index] != state.balance.used {
            guard let entry = entries[state.row], !entry.followsTiers, let limit = entry.limit else { continue }
            floored.append((state.row, used[index], limit.denies))
            states[index].balance.used = used[index]
        }
        if !floored.isEmpty { transaction.enqueue(LimitStateStore.floor(floored)) }
    }

    /// The entries, and those of other present and coming windows of limits on charges that hold quantities: these come
    /// to cost more or less when what is used changes, whatever window it counts in. What is held of a window that is
    /// over admits nothing any more, and is worked out anew when it is freed. A call that is admitted meanwhile, where
    /// nothing was held, is held at the charges of before until the next usage.
    private func withHeldWindows(
        of charged: [TenantSnapshot],
        _ isVoid: Bool,
        _ surroundings: LimitSurroundings,
        in transaction: borrowing Transaction
    ) throws -> [LimitRow: Entry] {
        var tenants: [TenantLimit: TenantSnapshot] = [:]
        var earliest: [TenantLimit: Instant] = [:]
        func look(at limit: TenantLimit, _ kind: WindowKind?, of tenant: TenantSnapshot?) {
            let start = (kind ?? .month).earliestStart(ofWindowAt: surroundings.now)
            earliest[limit] = min(earliest[limit] ?? .maximum, start)
            tenants[limit] = tenant
        }
        for tenant in charged {
            for limit in surroundings.limits(of: tenant) where limit.followsTiers {
                look(at: TenantLimit(tenant: tenant.id, limit: limit.id), limit.windowKind, of: tenant)
            }
        }
        for (row, entry) in entries where entry.followsTiers {
            look(at: TenantLimit(of: row), entry.limit?.windowKind, of: entry.tenant)
        }
        guard !earliest.isEmpty else { return entries }
        var entries = entries
        let parts = try transaction.query(LimitStateStore.parts(since: earliest), LimitStateStore.decode)
        for part in parts {
            guard let main = ChargeHolds.mainRow(beside: part.row), entries[main] == nil else { continue }
            let tenant = tenants[TenantLimit(of: main)]
            let change = LimitChange(keeping: main)
            entries[main] = Entry(change: change, tenant: tenant, followsTiers: true, isVoid: isVoid)
        }
        return entries
    }
}

extension Limit {
    /// Whether a window is over, as a billing period is where its subscription was ended, whenever it should have been.
    fileprivate func isOver(_ state: LimitState, of tenant: TenantSnapshot?, at now: Instant) -> Bool {
        guard state.windowEnd > now else { return true }
        guard windowKind == .billingPeriod, let tenant else { return false }
        return state.row.windowStart < tenant.periodStart(at: now)
    }
}

extension LimitChange {
    fileprivate init(_ use: LimitUse) {
        self.init(row: use.row, windowEnd: use.window.end, amount: use.limit.amount, revision: use.limit.revision)
    }
}
