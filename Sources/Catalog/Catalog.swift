package import BillingCore
package import Postgres
import Synchronization
package import Web

/// The in-memory read model: the shared catalogue, and the tenants that are in use. Reading what is cached takes a
/// short lock and never suspends. What is cached may be behind the database; a transaction that depends on it
/// compares `CatalogSnapshot.version` and `TenantSnapshot.catalogVersion` with the database and, where they differ,
/// calls `reload` or `invalidate` and starts again.
package final class Catalog: Sendable {
    /// How many tenants stay cached unless configured otherwise.
    package static let defaultCapacity = 100_000

    let pool: PostgresPool
    private let clock: Clock
    private let shared = Mutex<CatalogSnapshot>(.empty)
    private let tenants: Mutex<CachedTenants>

    package init(pool: PostgresPool, clock: Clock, capacity: Int = Catalog.defaultCapacity) {
        self.pool = pool
        self.clock = clock
        tenants = Mutex(CachedTenants(capacity: capacity))
    }

    /// The shared catalogue as last read; empty, with version 0, before the first `reload`.
    package var current: CatalogSnapshot {
        shared.withLock { $0 }
    }

    /// Reads the shared catalogue again. An older answer never replaces a newer one.
    package func reload(lane: PostgresLane = .interactive) async throws {
        let known = current
        let snapshot = try await pool.transaction(lane, retries: .idempotent(attempts: 3)) { transaction in
            try CatalogSnapshotStore.read(reusing: known, in: transaction)
        }
        shared.withLock { current in
            if snapshot.version >= current.version {
                current = snapshot
            }
        }
    }

    /// The tenant a key or subject names, if it is cached.
    package func cachedTenant(subject: String) -> TenantSnapshot? {
        tenants.withLock { $0.tenant(subject: subject) }
    }

    /// The same for many subjects under one lock.
    package func cachedTenants(subjects: some Sequence<String>) -> [String: TenantSnapshot] {
        tenants.withLock { directory in
            var found: [String: TenantSnapshot] = [:]
            for subject in subjects {
                found[subject] = directory.tenant(subject: subject)
            }
            return found
        }
    }

    /// The tenants that keys or subjects name. What is not cached is read in two round trips, however many there
    /// are. Subjects that name nobody are absent from the answer and never cached.
    package func tenants(
        subjects: some Sequence<String>,
        lane: PostgresLane = .interactive
    ) async throws -> [String: TenantSnapshot] {
        let asked = Set(subjects)
        var found = cachedTenants(subjects: asked)
        let missing = asked.filter { found[$0] == nil }.sorted()
        guard !missing.isEmpty else { return found }
        let loaded = try await load(lane: lane) { transaction in
            try SubjectDirectory.tenants(of: missing, in: transaction)
        }
        found.merge(loaded.bySubject) { $1 }
        return found
    }

    /// The tenant with an id; nil when there is none.
    package func tenant(_ id: TenantID, lane: PostgresLane = .interactive) async throws -> TenantSnapshot? {
        try await tenants(ids: [id], lane: lane)[id]
    }

    /// The tenant with a key; nil when there is none. A subject that is not a key does not count.
    package func tenant(key: String, lane: PostgresLane = .interactive) async throws -> TenantSnapshot? {
        guard let tenant = try await tenants(subjects: [key], lane: lane)[key], tenant.key == key else { return nil }
        return tenant
    }

    /// The tenants with these ids; those that do not exist are absent.
    package func tenants(
        ids: some Sequence<TenantID>,
        lane: PostgresLane = .interactive
    ) async throws -> [TenantID: TenantSnapshot] {
        let asked = Set(ids)
        var found: [TenantID: TenantSnapshot] = tenants.withLock { cached in
            var found: [TenantID: TenantSnapshot] = [:]
            for id in asked {
                found[id] = cached.tenant(id)
            }
            return found
        }
        let missing = asked.filter { found[$0] == nil }.sorted()
        guard !missing.isEmpty else { return found }
        let entries = missing.map { SubjectDirectory.Entry(subject: nil, tenantID: $0) }
        found.merge(try await load(lane: lane) { _ in entries }.byID) { $1 }
        return found
    }

    /// Drops a tenant from the cache, also where a reading of it is under way.
    package func invalidate(tenant id: TenantID) {
        tenants.withLock { $0.invalidate(id) }
    }

    /// Drops a tenant by its key, if it is cached.
    package func invalidate(tenantKey key: String) {
        guard let tenant = cachedTenant(subject: key) else { return }
        invalidate(tenant: tenant.id)
    }

    /// Drops all tenants: used when notifications may have been missed.
    package func invalidateAllTenants() {
        tenants.withLock { $0.invalidateAll() }
    }

    /// Adds the ids of billing periods to the cached tenants they belong to.
    package func remember(periods: [BillingPeriod]) {
        guard !periods.isEmpty else { return }
        tenants.withLock { $0.remember(periods) }
    }

    /// How many tenants are cached.
    package var cachedTenantCount: Int {
        tenants.withLock { $0.cachedCount }
    }

    /// Some of the cached tenants, for comparing their versions with the database; `next` continues and wraps.
    func cachedPage(from position: Int, limit: Int) -> (tenants: [TenantSnapshot], next: Int) {
        tenants.withLock { $0.page(from: position, limit: limit) }
    }

    private func load(
        lane: PostgresLane,
        _ wanted: @escaping @Sendable (borrowing Transaction) throws -> [SubjectDirectory.Entry]
    ) async throws -> LoadedTenants {
        let (ticket, plans) = tenants.withLock { $0.beginLoad() }
        do {
            let now = clock.now()
            let loaded = try await pool.transaction(lane, retries: .idempotent(attempts: 3)) { transaction in
                let entries = try wanted(transaction)
                let ids = Set(entries.map(\.tenantID)).sorted()
                let rows = try TenantSnapshotStore.read(ids, plans: plans, now: now, in: transaction)
                return LoadedTenants(entries: entries, tenants: rows)
            }
            tenants.withLock { $0.finishLoad(ticket, loaded) }
            return loaded
        } catch {
            tenants.withLock { $0.abandonLoad(ticket) }
            throw error
        }
    }
}
