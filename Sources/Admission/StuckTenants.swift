import BillingCore
import Synchronization

/// Tenants of which a call touches a row that somebody else has had locked for longer than a flush waits: a transaction
/// that hangs, or one that changes very many rows. Their calls are decided by themselves, so that they hold up nobody
/// else's. All tenants of a flush that waited in vain are suspects until it is known for whom it did.
final class StuckTenants: Sendable {
    /// How long a flush waits for rows that others have locked. There is time to decide again for those who wait.
    let patience: Duration
    /// The same, for calls of such tenants alone.
    let briefPatience: Duration
    /// How long they are decided by themselves.
    private static let memory = Duration.seconds(5)

    private struct Entry {
        let since: ContinuousClock.Instant
        /// When it was known last that their calls wait in vain; nil of suspects.
        var vainAt: ContinuousClock.Instant?
    }

    private let entries = Mutex<[TenantID: Entry]>([:])

    /// - Parameter deadline: when a call is answered, decided or not.
    init(deadline: Duration) {
        // No longer than a statement may take: that ends it by another error.
        patience = max(.milliseconds(1), min(deadline / 2, .seconds(5)))
        briefPatience = max(.milliseconds(1), patience / 5)
    }

    /// Notes for whom a flush has waited in vain, one of them at least.
    func suspect(_ tenants: some Sequence<TenantID>) {
        let now = ContinuousClock.now
        entries.withLock { entries in
            entries = entries.filter { now - $0.value.since < Self.memory }
            for tenant in tenants where entries[tenant] == nil { entries[tenant] = Entry(since: now) }
        }
    }

    /// Notes that a tenant's calls alone have waited in vain. After a while they are decided with others again: so it
    /// is found out that the row is free, also where it is one that many wait for.
    func note(_ tenant: TenantID) {
        let now = ContinuousClock.now
        entries.withLock { entries in
            entries[tenant, default: Entry(since: now)].vainAt = now
        }
    }

    /// Notes that a tenant's calls were decided. One of which others have waited in vain stays.
    func clear(_ tenant: TenantID) {
        entries.withLock { entries in
            if let entry = entries[tenant], entry.vainAt == nil { entries[tenant] = nil }
        }
    }

    /// Whether its calls are decided by themselves.
    func contains(_ tenant: TenantID) -> Bool {
        entries.withLock { entries in
            guard !entries.isEmpty, let entry = entries[tenant] else { return false }
            return ContinuousClock.now - entry.since < Self.memory
        }
    }

    /// Whether it is too early to try again.
    func isPaused(_ tenant: TenantID) -> Bool {
        entries.withLock { entries in
            guard let vainAt = entries[tenant]?.vainAt else { return false }
            return ContinuousClock.now - vainAt < patience
        }
    }
}
