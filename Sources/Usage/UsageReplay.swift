package import BillingCore
import Catalog
package import Postgres

/// Counts a tenant's usage anew from its raw log as a snapshot of the tenant asks that need not be the stored one:
/// under another plan, and so with other cells. It writes nothing.
///
/// It reads page by page up to a ledger sequence, no transaction longer than a page, and stops when its task is
/// cancelled or the usage is more than it may look at.
package struct UsageReplay: Sendable {
    /// How many rows of the raw log one replay reads at most.
    package static let maximumEvents = 500_000
    private static let pageSize = 5_000

    package struct TooManyEvents: Error {}

    let pool: PostgresPool
    let tenant: TenantID

    package init(pool: PostgresPool, tenant: TenantID) {
        self.pool = pool
        self.tenant = tenant
    }

    /// The recount with the events of an interval folded in.
    /// - Parameter recount: of the same tenant. Its snapshot names a billing period for every time of the interval;
    ///   the id need not exist.
    /// - Throws: `TooManyEvents`, and `DecimalError` when a sum leaves the range of a quantity.
    package func run(
        over interval: Interval,
        throughSequence sequence: Int64,
        into recount: UsageRecount
    ) async throws -> UsageRecount {
        var recount = recount
        var after: EventPosition?
        var count = 0
        repeat {
            try Task.checkCancellation()
            let position = after
            let page = try await pool.query(
                .worker,
                as: .tenant(tenant.rawValue),
                EventLogStore.page(
                    tenant: tenant,
                    interval: interval,
                    after: position,
                    throughSequence: sequence,
                    limit: Self.pageSize
                ),
                EventLogStore.decode
            )
            count += page.count
            guard count <= Self.maximumEvents else { throw TooManyEvents() }
            guard !page.isEmpty else { break }
            let voided = try await voided(among: page, throughSequence: sequence)
            for stored in page where stored.reversalOf == nil && !voided.contains(stored.key) {
                try recount.add(stored)
            }
            after = page.count < Self.pageSize ? nil : page.last?.position
        } while after != nil
        return recount
    }

    private func voided(
        among page: [StoredEvent],
        throughSequence sequence: Int64
    ) async throws -> Set<EventKey> {
        let voided = EventLogStore.voided(among: page, of: tenant, throughSequence: sequence)
        return Set(
            try await pool.query(.worker, as: .tenant(tenant.rawValue), voided, EventLogStore.decodeVoided)
        )
    }
}

extension CounterRow {
    /// A counter that whoever reads it charges.
    package init(key: CounterKey, state: CounterState) {
        self.init(key: key, state: state, charge: .zero)
    }
}
