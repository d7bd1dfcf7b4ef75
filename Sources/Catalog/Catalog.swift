package import BillingCore
package import Postgres
import Synchronization
package import Web

/// The in-memory read model: the shared catalogue, and the tenants that are in use. Reading what is cached takes a
/// short lock and never suspends. What is cached may be behind the database; a transaction that depends on it
/// compares `CatalogSnapshot.version` and `TenantSnapshot.catalogVersion` with the database and, where they differ,
/// calls `reload` or `invalidate` and starts again.
package final class Catalog: Sendable {
    /// How many tenants stay cached.
    package static let defaultCapacity = 100_000

    let pool: PostgresPool
    /// How fast tenants may change what is known of them.
    package let pace = ChangePace()
    private let clock: Clock
    private let shared = Mutex<CatalogSnapshot>(.empty)
    private let tenants: Mutex<CachedTenants>
    /// Of the shared catalogue, by each lane for itself: a slow one holds up no other.
    private let readings = Dictionary(uniqueKeysWithValues: PostgresLane.allCases.map { ($0, SharedReading<Void>()) })

    /// Of tenants by their subjects, likewise.
    private let subjectReadings = Dictionary(uniqueKeysWithValues: PostgresLane.allCases.map { ($0, SubjectReading()) })

    package init(pool: PostgresPool, clock: Clock, capacity: Int = Catalog.defaultCapacity) {
        self.pool = pool
        self.clock = clock
        tenants = Mutex(CachedTenants(capacity: capacity))
    }

    /// The shared catalogue as last read; empty, with version 0, before the first `reload`.
    package var current: CatalogSnapshot {
        shared.withLock { $0 }
    }

    /// Reads the shared catalogue again, as it is now or later; those who ask at once share a reading. An older answer
    /// never replaces one that came meanwhile, on another lane; where none did, it is the database that went back to an
    /// earlier version.
    package func reload(lane: PostgresLane = .interactive) async throws {
        try await readings[lane, default: SharedReading()].run { [self] in
            let known = current
            let snapshot = try await pool.transaction(lane, retries: .idempotent(attempts: 3)) { transaction in
                try CatalogSnapshotStore.read(reusing: known, in: transaction)
            }
            shared.withLock { current in
                if snapshot.version >= current.version || current.version == known.version {
                    current = snapshot
                }
            }
        }
    }

    /// The tenant a key or subject names, if it is cached.
    package func cachedTenant(subject: String) -> TenantSnapshot? {
        tenants.withLock { $0.tenant(subject: ExactText(subject)) }
    }

    /// The tenant that a key or subject named when it was read last, also where it may have changed since: for when it
    /// can't be read again.
    package func lastKnownTenant(subject: String) -> TenantSnapshot? {
        tenants.withLock { $0.lastKnown(subject: ExactText(subject)) }
    }

    /// The tenants that keys or subjects name. What is not cached is read in two or three round trips, however many
    /// there are. Subjects that name nobody are absent from the answer and never cached.
    package func tenants(
        subjects: some Sequence<String>,
        lane: PostgresLane = .interactive
    ) async throws -> [ExactText: TenantSnapshot] {
        let asked = Set(subjects.lazy.map { ExactText($0) })
        var found = tenants.withLock { cached in
            var found: [ExactText: TenantSnapshot] = [:]
            for subject in asked { found[subject] = cached.tenant(subject: subject) }
            return found
        }
        let missing = asked.filter { found[$0] == nil }
        guard !missing.isEmpty else { return found }
        let loaded = try await subjectReadings[lane, default: SubjectReading()].run(missing) { [self] wanted in
            let subjects = wanted.map(\.text).sorted()
            return try await load(lane: lane) { transaction in
                try SubjectDirectory.tenants(of: subjects, in: transaction)
            }
        }
        let gone = missing.filter { loaded.bySubject[$0] == nil }
        tenants.withLock { $0.forget(subjects: Array(gone)) }
        for subject in missing { found[subject] = loaded.bySubject[subject] }
        return found
    }

    /// The tenant with an id; nil when there is none.
    package func tenant(_ id: TenantID, lane: PostgresLane = .interactive) async throws -> TenantSnapshot? {
        try await tenants(ids: [id], lane: lane)[id]
    }

    /// The tenant with a key; nil when there is none. A subject that is not a key does not count.
    package func tenant(key: String, lane: PostgresLane = .interactive) async throws -> TenantSnapshot? {
        guard let tenant = try await tenants(subjects: [key], lane: lane)[ExactText(key)],
            tenant.key.hasSameBytes(as: key)
        else { return nil }
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
        guard let tenant = lastKnownTenant(subject: key) else { return }
        invalidate(tenant: tenant.id)
    }

    /// Has all tenants read again before they are used, because notifications may have been missed. Until then they are
    /// what was known last.
    package func invalidateAllTenants() {
        tenants.withLock { $0.invalidateAll() }
    }

    /// The same, and nothing is known of them until then, because it is not known what a notification was about.
    package func forgetAllTenants() {
        tenants.withLock { $0.forgetAll() }
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
