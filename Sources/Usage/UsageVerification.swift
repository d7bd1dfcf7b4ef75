package import BillingCore
import Catalog
import Limits
package import Postgres
package import Web

/// One value that what it is made of does not bear out.
package struct UsageDifference: Sendable, Hashable, CustomStringConvertible {
    package let tenant: String
    /// What differs, such as `counter chat-tokens, period 12: quantity`.
    package let subject: String
    package let stored: String
    package let rebuilt: String
    /// What gives the rebuilt value: the raw events, or what else it is made of.
    package let source: String

    package init(tenant: String, subject: String, stored: String, rebuilt: String, source: String = "events") {
        self.source = source
        self.tenant = tenant
        self.subject = subject
        self.stored = stored
        self.rebuilt = rebuilt
    }

    package var description: String {
        "tenant \(tenant): \(subject) is \(stored), its \(source) give \(rebuilt)"
    }
}

/// Rebuilds every counter, limit window and count of unpriced usage from the raw events and compares, of every tenant
/// that anything is stored of; one without a row or a ledger of its own is a difference.
/// Budgets over all tenants are judged as of the moment at which it begins.
///
/// Each tenant is judged as of one ledger sequence: its counters are read in one snapshot, and the events up to that
/// sequence are then paged through. It takes no lock, so that it can run beside live traffic. Memory holds one page of
/// events, one tenant's counters and limit windows, and the distinct values of the periods that are still open.
package struct UsageVerification: Sendable {
    private static let tenantPage = 500
    private static let eventPage = 5_000

    let pool: PostgresPool
    let clock: Clock
    let operatorZone: Zone

    /// How far a verification has come.
    package struct Progress: Sendable {
        package var tenants = 0
        package var events = 0
        /// Finalised invoices that were made anew.
        package var invoices = 0
        package var differences = 0

        package init() {}
    }

    /// - Parameter operatorZone: where the days of budgets over all tenants begin.
    package init(pool: PostgresPool, clock: Clock, operatorZone: Zone) {
        self.pool = pool
        self.clock = clock
        self.operatorZone = operatorZone
    }

    /// - Parameters:
    ///   - only: the one tenant to judge; every one when left out.
    ///   - difference: called for each one found.
    ///   - progress: called after each page of events and each tenant.
    @discardableResult
    package func run(
        tenant only: TenantID? = nil,
        difference: (UsageDifference) -> Void,
        progress: (Progress) -> Void
    ) async throws -> Progress {
        var total = Progress()
        func tell(_ found: [UsageDifference]) {
            total.differences += found.count
            found.forEach(difference)
        }
        var budgets: OperatorBudgets?
        if only == nil {
            tell(try await unbalancedHolds(of: .operatorWide, name: "0"))
            budgets = try await pool.transaction(.worker) { [operatorZone, now = clock.now()] transaction in
                try OperatorBudgets(operatorZone: operatorZone, at: now, in: transaction)
            }
        }
        var after = TenantID.operatorWide
        var catalog = CatalogSnapshot.empty
        while true {
            let tenants = try await tenants(after: after, only: only)
            for tenant in tenants {
                do {
                    tell(
                        try await verify(
                            tenant,
                            catalog: &catalog,
                            budgets: &budgets,
                            counting: &total,
                            progress: progress
                        )
                    )
                } catch  where error.isOfStored {
                    budgets?.isIncomplete = true
                    tell([.unreadable(tenant, error)])
                }
                total.tenants += 1
                progress(total)
            }
            guard only == nil, let next = tenants.last else { break }
            after = next
        }
        if let budgets { tell(budgets.differences) }
        return total
    }

    private func tenants(after last: TenantID, only: TenantID?) async throws -> [TenantID] {
        if let only { return [only] }
        return try await pool.query(.worker, StoredTenants.page(after: last, limit: Self.tenantPage)) {
            row throws(PostgresError) in try row.next(TenantID.self)
        }
    }

    private func verify(
        _ tenant: TenantID,
        catalog: inout CatalogSnapshot,
        budgets: inout OperatorBudgets?,
        counting total: inout Progress,
        progress: (Progress) -> Void
    ) async throws -> [UsageDifference] {
        let stored: StoredUsage
        switch try await read(tenant, catalog: &catalog) {
        case .usage(let usage): stored = usage
        case .incomplete(let standing):
            budgets?.isIncomplete = true
            return standing.differences(of: tenant)
        }
        var recounts = TenantRecounts(stored, beside: budgets, operatorZone: operatorZone)
        var rows = 0
        var after: EventPosition?
        repeat {
            let page: [StoredEvent]
            do {
                page = try await self.page(of: tenant, after: after, through: stored.ledgerSequence)
                after = page.count < Self.eventPage ? nil : page.last?.position
                try await add(page, of: tenant, to: &recounts)
            } catch  where error is DecimalError || error is UnknownBillingPeriod || error.isOfStored {
                budgets?.isIncomplete = true
                return [.uncountable(stored.tenant.key, after: rows, error)]
            }
            rows += page.count
            total.events += page.count
            progress(total)
        } while after != nil
        try recounts.finish(&budgets)
        return try recounts.differences(eventRows: rows)
            + (try await unbalancedHolds(of: tenant, name: stored.tenant.key))
    }

    private func page(of tenant: TenantID, after: EventPosition?, through: Int64) async throws -> [StoredEvent] {
        try await pool.query(
            .worker,
            EventLogStore.page(
                tenant: tenant,
                interval: .allTime,
                after: after,
                throughSequence: through,
                limit: Self.eventPage
            ),
            EventLogStore.decode
        )
    }

    /// Folds in a page, without what is voided by now; of budgets over all tenants, by the moment they were read at.
    private func add(_ page: [StoredEvent], of tenant: TenantID, to recounts: inout TenantRecounts) async throws {
        guard let last = page.last else { return }
        let voided = try await voidedKeys(among: page, of: tenant, recounts.ledgerSequence)
        for event in page where !voided.contains(event.key) { try recounts.add(event) }
        if let sequence = recounts.sharedSequence {
            let earlier = try await voidedKeys(among: page, of: tenant, sequence)
            for event in page where !earlier.contains(event.key) { try recounts.addShared(event) }
        }
        recounts.forgetDistinctValues(before: last.time)
    }

    /// What limits hold, against what open reservations hold of them.
    private func unbalancedHolds(of tenant: TenantID, name: String) async throws -> [UsageDifference] {
        try await pool.query(.worker, ReservationStore.unbalanced(of: tenant)) { row throws(PostgresError) in
            UsageDifference(
                tenant: name,
                subject: "\(try row.next(String.self)): held",
                stored: try row.next(),
                rebuilt: try row.next(),
                source: "reservations"
            )
        }
    }

    private enum Reading: Sendable {
        case usage(StoredUsage)
        /// Without the tenant's row, or its ledger, there is nothing to compare with.
        case incomplete(StoredTenants.Standing)
    }

    private func read(_ tenant: TenantID, catalog: inout CatalogSnapshot) async throws -> Reading {
        let now = clock.now()
        let known = catalog
        let reading = try await pool.transaction(.worker) { transaction in
            if let stored = try StoredUsage(tenant: tenant, now: now, reusing: known, in: transaction) {
                return Reading.usage(stored)
            }
            let standing = try transaction.first(StoredTenants.standing(of: tenant), StoredTenants.decodeStanding)
            guard let standing else { throw CatalogFault.unreadable(table: "tenant", key: tenant.description) }
            return Reading.incomplete(standing)
        }
        if case .usage(let stored) = reading { catalog = stored.catalog }
        return reading
    }

    private func voidedKeys(
        among page: [StoredEvent],
        of tenant: TenantID,
        _ sequence: Int64
    ) async throws -> Set<EventKey> {
        let voided = EventLogStore.voided(among: page, of: tenant, throughSequence: sequence)
        return Set(try await pool.query(.worker, voided, EventLogStore.decodeVoided))
    }
}

/// Everything that a tenant's events are counted anew for.
private struct TenantRecounts {
    private let stored: StoredUsage
    private var usage: UsageRecount
    private var costs: CostDifferences
    private var unpriced: UnpricedRecount
    private var budgets: BudgetRecount
    /// Of budgets over all tenants.
    private var shared: BudgetRecount?
    let sharedSequence: Int64?

    init(_ stored: StoredUsage, beside operators: OperatorBudgets?, operatorZone: Zone) {
        self.stored = stored
        usage = UsageRecount(
            tenant: stored.tenant,
            periods: stored.periods,
            catalog: stored.catalog,
            costsThroughSequence: stored.ledgerSequence
        )
        costs = CostDifferences(tenant: stored.tenant.key)
        unpriced = UnpricedRecount(tenant: stored.tenant, throughSequence: stored.ledgerSequence)
        budgets = BudgetRecount(
            tenant: stored.tenant,
            catalog: stored.catalog,
            starts: stored.budgetStarts,
            coverage: stored.coverage,
            throughSequence: stored.ledgerSequence,
            plansChangedAt: stored.plansChangedAt,
            operatorZone: operatorZone
        )
        sharedSequence = operators?.sequence(of: stored.tenant.id)
        shared = sharedSequence.flatMap { operators?.recount(of: stored.tenant, throughSequence: $0) }
    }

    var ledgerSequence: Int64 { stored.ledgerSequence }

    mutating func add(_ event: StoredEvent) throws {
        try usage.add(event)
        costs.add(usage.costDifference(event), of: event)
        try unpriced.add(event)
        try budgets.add(event)
    }

    mutating func addShared(_ event: StoredEvent) throws {
        try shared?.add(event)
    }

    mutating func forgetDistinctValues(before time: Instant) {
        usage.forgetDistinctValues(before: time)
    }

    /// Adds what budgets over all tenants have used by this one.
    func finish(_ operators: inout OperatorBudgets?) throws {
        if let shared { try operators?.add(shared) }
    }

    func differences(eventRows: Int) throws -> [UsageDifference] {
        try stored.differences(from: usage, eventRows: eventRows) + costs.all
            + unpriced.differences(from: stored.unpriced) + budgets.differences(from: stored.budgets, at: stored.now)
    }
}

extension UsageDifference {
    fileprivate static func unreadable(_ tenant: TenantID, _ error: any Error) -> UsageDifference {
        UsageDifference(
            tenant: "number \(tenant)",
            subject: "all of it",
            stored: "there",
            rebuilt: "not read: \(error)"
        )
    }

    fileprivate static func uncountable(_ tenant: String, after rows: Int, _ error: any Error) -> UsageDifference {
        UsageDifference(
            tenant: tenant,
            subject: "the usage after event \(rows)",
            stored: "counted",
            rebuilt: "no count: \(error)"
        )
    }
}

extension Error {
    /// Whether what is stored can't be read: that is a difference, and others are looked at all the same.
    package var isOfStored: Bool { (self as? PostgresError)?.isOfRows == true || self is CatalogFault }
}
