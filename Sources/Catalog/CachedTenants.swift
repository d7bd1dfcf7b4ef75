import BillingCore

/// What one reading of tenants brought: the tenants, and the subjects they were asked for under.
struct LoadedTenants: Sendable {
    let byID: [TenantID: TenantSnapshot]
    let bySubject: [ExactText: TenantSnapshot]

    init(entries: [SubjectDirectory.Entry], tenants: [TenantSnapshot]) {
        let byID = Dictionary(tenants.map { ($0.id, $0) }) { first, _ in first }
        var bySubject: [ExactText: TenantSnapshot] = [:]
        for entry in entries {
            guard let subject = entry.subject else { continue }
            bySubject[ExactText(subject)] = byID[entry.tenantID]
        }
        self.byID = byID
        self.bySubject = bySubject
    }
}

/// The cached tenants, the plan versions they share, and the readings under way: a tenant invalidated while it is
/// being read must not enter the cache with what was read before.
struct CachedTenants {
    struct Ticket: Hashable {
        fileprivate let number: UInt64
    }

    private enum Overtaken {
        case some(Set<TenantID>)
        case all
    }

    /// Beyond this many plan versions the shared ones are let go; subscriptions in the cache keep theirs.
    private static let planCapacity = 20_000

    private let capacity: Int
    private var cache: TenantCache
    private var plans: [PlanVersionID: PlanVersion] = [:]
    private var loads: [Ticket: Overtaken] = [:]
    private var lastTicket: UInt64 = 0

    init(capacity: Int) {
        self.capacity = capacity
        cache = TenantCache(capacity: capacity)
    }

    var cachedCount: Int { cache.count }

    mutating func tenant(subject: ExactText) -> TenantSnapshot? {
        cache.tenant(subject: subject)
    }

    mutating func tenant(_ id: TenantID) -> TenantSnapshot? {
        cache.tenant(id)
    }

    /// The tenant that a subject named when it was read last, also where it may have changed since.
    func lastKnown(subject: ExactText) -> TenantSnapshot? {
        cache.lastKnown(subject: subject)
    }

    func page(from position: Int, limit: Int) -> (tenants: [TenantSnapshot], next: Int) {
        cache.page(from: position, limit: limit)
    }

    mutating func invalidate(_ id: TenantID) {
        cache.remove(id)
        for (ticket, overtaken) in loads {
            guard case .some(var ids) = overtaken else { continue }
            ids.insert(id)
            loads[ticket] = .some(ids)
        }
    }

    /// Has every tenant read again before it is used; until then it is what was known last.
    mutating func invalidateAll() {
        cache.makeStale()
        plans = [:]
        for ticket in loads.keys {
            loads[ticket] = .all
        }
    }

    /// The same, and nothing is known of them until then.
    mutating func forgetAll() {
        invalidateAll()
        cache = TenantCache(capacity: capacity)
    }

    /// Takes note of subjects that were read and name nobody.
    mutating func forget(subjects: [ExactText]) {
        for subject in subjects { cache.forget(subject: subject) }
    }

    mutating func remember(_ periods: [BillingPeriod]) {
        for (tenant, own) in Dictionary(grouping: periods, by: \.tenantID) {
            cache.update(tenant) { $0.remembering(own) }
        }
    }

    mutating func beginLoad() -> (Ticket, [PlanVersionID: PlanVersion]) {
        lastTicket += 1
        let ticket = Ticket(number: lastTicket)
        loads[ticket] = .some([])
        return (ticket, plans)
    }

    mutating func abandonLoad(_ ticket: Ticket) {
        loads[ticket] = nil
    }

    mutating func finishLoad(_ ticket: Ticket, _ loaded: LoadedTenants) {
        guard let overtaken = loads.removeValue(forKey: ticket), case .some(let stale) = overtaken else { return }
        for tenant in loaded.byID.values where !stale.contains(tenant.id) {
            cache.insert(tenant, subject: nil)
            for segment in tenant.subscriptions.flatMap(\.segments) {
                plans[segment.published.id] = segment.published
            }
        }
        for (subject, tenant) in loaded.bySubject where !stale.contains(tenant.id) {
            cache.insert(tenant, subject: subject)
        }
        if plans.count > Self.planCapacity {
            plans.removeAll()
        }
    }
}
