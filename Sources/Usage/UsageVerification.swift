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

/// Rebuilds every counter, limit window and count of unpriced usage from the raw events and compares (promise P5).
///
/// Each tenant is judged as of one ledger sequence: its counters are read in one snapshot, and the events up to that
/// sequence are then paged through. It takes no lock, so that it can run beside live traffic. Memory holds one page of
/// events, one tenant's counters and limit windows, and the distinct values of the periods that are still open.
package struct UsageVerification: Sendable {
    private static let tenantPage = 500
    private static let eventPage = 5_000

    let pool: PostgresPool
    let clock: Clock

    /// How far a verification has come.
    package struct Progress: Sendable {
        package var tenants = 0
        package var events = 0
        /// Finalised invoices that were made anew.
        package var invoices = 0
        package var differences = 0

        package init() {}
    }

    package init(pool: PostgresPool, clock: Clock) {
        self.pool = pool
        self.clock = clock
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
        if only == nil {
            for found in try await unbalancedHolds(of: .operatorWide, name: "0") {
                total.differences += 1
                difference(found)
            }
        }
        var after = TenantID.operatorWide
        var catalog = CatalogSnapshot.empty
        while true {
            let last = after
            let tenants = try await pool.query(
                .worker,
                """
                SELECT tenant_id FROM tenant_ledger
                WHERE tenant_id > \(last) AND (\(only)::bigint IS NULL OR tenant_id = \(only)::bigint)
                ORDER BY tenant_id
                LIMIT \(Self.tenantPage)
                """
            ) { row throws(PostgresError) in try row.next(TenantID.self) }
            for tenant in tenants {
                for found in try await verify(
                    tenant,
                    catalog: &catalog,
                    counting: &total,
                    progress: progress
                ) {
                    total.differences += 1
                    difference(found)
                }
                total.tenants += 1
                progress(total)
            }
            guard let next = tenants.last else { return total }
            after = next
        }
    }

    private func verify(
        _ tenant: TenantID,
        catalog: inout CatalogSnapshot,
        counting total: inout Progress,
        progress: (Progress) -> Void
    ) async throws -> [UsageDifference] {
        guard let stored = try await stored(of: tenant, catalog: &catalog) else { return [] }
        var recount = UsageRecount(
            tenant: stored.tenant,
            periods: stored.periods,
            catalog: stored.catalog,
            costsThroughSequence: stored.ledgerSequence
        )
        var costs = CostDifferences(tenant: stored.tenant.key)
        var unpriced = UnpricedRecount(tenant: stored.tenant, throughSequence: stored.ledgerSequence)
        var rows = 0
        var after: EventPosition?
        var voided: Set<EventKey> = []
        repeat {
            let position = after
            let page = try await pool.query(
                .worker,
                EventLogStore.page(
                    tenant: tenant,
                    interval: .allTime,
                    after: position,
                    throughSequence: stored.ledgerSequence,
                    limit: Self.eventPage
                ),
                EventLogStore.decode
            )
            after = page.count < Self.eventPage ? nil : page.last?.position
            if let first = page.first, let last = page.last {
                voided = try await voidedKeys(tenant, from: first.time, through: last.time, stored.ledgerSequence)
            }
            do {
                for event in page where !voided.contains(event.key) {
                    try recount.add(event)
                    costs.add(recount.costDifference(event), of: event)
                    try unpriced.add(event)
                }
            } catch {
                return [
                    UsageDifference(
                        tenant: stored.tenant.key,
                        subject: "the usage after event \(rows)",
                        stored: "counted",
                        rebuilt: "no count: \(error)"
                    )
                ]
            }
            if let last = page.last { recount.forgetDistinctValues(before: last.time) }
            rows += page.count
            total.events += page.count
            progress(total)
        } while after != nil
        return try await stored.differences(from: recount, eventRows: rows) + costs.all
            + unpriced.differences(from: stored.unpriced) + unbalancedHolds(of: tenant, name: stored.tenant.key)
    }

    /// What limits hold, against what open reservations hold of them.
    private func unbalancedHolds(of tenant: TenantID, name: String) async throws -> [UsageDifference] {
        try await pool.query(.worker, ReservationStore.unbalanced(of: tenant)) { row throws(PostgresError) in
            UsageDifference(
                tenant: name,
                subject: "\(try row.next(String.self)): held",
                stored: try row.next(),
                rebuilt: try row.next()
            )
        }
    }

    private func stored(of tenant: TenantID, catalog: inout CatalogSnapshot) async throws -> StoredUsage? {
        let now = clock.now()
        let known = catalog
        let stored = try await pool.transaction(.worker) { transaction in
            try StoredUsage(tenant: tenant, now: now, reusing: known, in: transaction)
        }
        catalog = stored?.catalog ?? known
        return stored
    }

    private func voidedKeys(
        _ tenant: TenantID,
        from first: Instant,
        through last: Instant,
        _ sequence: Int64
    ) async throws -> Set<EventKey> {
        let interval = Interval(start: first, end: last.adding(microseconds: 1))
        let keys = try await pool.query(
            .worker,
            EventLogStore.voided(tenant: tenant, interval: interval, throughSequence: sequence)
        ) { row throws(PostgresError) in try row.next(EventKey.self) }
        return Set(keys)
    }
}
