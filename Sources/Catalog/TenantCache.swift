import BillingCore

/// A bounded cache of tenants by id and by the subjects they were asked for under. Evicts by the clock algorithm
/// (second chance): a hit only sets a mark, so reading moves nothing. Not synchronised; the catalogue holds it in a
/// mutex.
struct TenantCache {
    private struct Slot {
        var tenant: TenantSnapshot
        var subjects: [ExactText]
        var isRecentlyUsed: Bool
        /// It may have changed: it is read again before it is used.
        var isStale = false
    }

    /// A tenant may be known under several subjects; beyond this many per tenant on average the oldest go.
    private static let subjectsPerTenant = 4

    private let capacity: Int
    private var slots: [Slot?] = []
    private var freeSlots: [Int] = []
    private var slotByTenant: [TenantID: Int] = [:]
    private var slotBySubject: [ExactText: Int] = [:]
    private var hand = 0

    init(capacity: Int) {
        self.capacity = max(1, capacity)
    }

    var count: Int { slotByTenant.count }
    var subjectCount: Int { slotBySubject.count }

    mutating func tenant(subject: ExactText) -> TenantSnapshot? {
        guard let index = slotBySubject[subject] else { return nil }
        return use(index)
    }

    mutating func tenant(_ id: TenantID) -> TenantSnapshot? {
        guard let index = slotByTenant[id] else { return nil }
        return use(index)
    }

    /// The tenant that a subject named when it was read last, stale or not.
    func lastKnown(subject: ExactText) -> TenantSnapshot? {
        slotBySubject[subject].flatMap { slots[$0]?.tenant }
    }

    /// Puts a tenant in, or replaces it, under one more subject if one is given. In another version it may have other
    /// subjects: those of before are forgotten.
    mutating func insert(_ tenant: TenantSnapshot, subject: ExactText?) {
        if let index = slotByTenant[tenant.id], slots[index]?.tenant.catalogVersion != tenant.catalogVersion {
            release(index)
        }
        let index = slotByTenant[tenant.id] ?? place(tenant)
        slots[index]?.tenant = tenant
        slots[index]?.isStale = false
        guard let subject, slotBySubject[subject] != index else { return }
        forget(subject: subject)
        slots[index]?.subjects.append(subject)
        slotBySubject[subject] = index
        while slotBySubject.count > capacity * Self.subjectsPerTenant {
            evict()
        }
    }

    /// Replaces a tenant that is still cached; does nothing when it no longer is.
    mutating func update(_ id: TenantID, _ change: (TenantSnapshot) -> TenantSnapshot) {
        guard let index = slotByTenant[id], let tenant = slots[index]?.tenant else { return }
        slots[index]?.tenant = change(tenant)
    }

    mutating func remove(_ id: TenantID) {
        guard let index = slotByTenant[id] else { return }
        release(index)
    }

    /// Makes every tenant stale.
    mutating func makeStale() {
        for index in slots.indices { slots[index]?.isStale = true }
    }

    /// Takes a subject from the tenant that it named.
    mutating func forget(subject: ExactText) {
        guard let index = slotBySubject.removeValue(forKey: subject) else { return }
        slots[index]?.subjects.removeAll { $0 == subject }
    }

    /// Up to `limit` tenants from a position on, with the position to continue from; it wraps around.
    func page(from position: Int, limit: Int) -> (tenants: [TenantSnapshot], next: Int) {
        guard !slots.isEmpty else { return ([], 0) }
        let start = position < slots.count ? position : 0
        let end = min(slots.count, start + limit)
        return (slots[start..<end].compactMap { $0?.tenant }, end == slots.count ? 0 : end)
    }

    private mutating func place(_ tenant: TenantSnapshot) -> Int {
        if slotByTenant.count >= capacity {
            evict()
        }
        let slot = Slot(tenant: tenant, subjects: [], isRecentlyUsed: false)
        let index: Int
        if let free = freeSlots.popLast() {
            index = free
            slots[index] = slot
        } else {
            index = slots.count
            slots.append(slot)
        }
        slotByTenant[tenant.id] = index
        return index
    }

    private mutating func use(_ index: Int) -> TenantSnapshot? {
        guard slots[index]?.isStale == false else { return nil }
        slots[index]?.isRecentlyUsed = true
        return slots[index]?.tenant
    }

    /// Frees the next slot that was not used since the hand last passed; ends after at most two rounds.
    private mutating func evict() {
        while !slotByTenant.isEmpty {
            hand = hand + 1 < slots.count ? hand + 1 : 0
            guard let slot = slots[hand] else { continue }
            guard slot.isRecentlyUsed else {
                release(hand)
                return
            }
            slots[hand]?.isRecentlyUsed = false
        }
    }

    private mutating func release(_ index: Int) {
        guard let slot = slots[index] else { return }
        for subject in slot.subjects {
            slotBySubject[subject] = nil
        }
        slotByTenant[slot.tenant.id] = nil
        slots[index] = nil
        freeSlots.append(index)
    }
}
