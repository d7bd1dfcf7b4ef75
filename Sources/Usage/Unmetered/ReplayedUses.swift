import BillingCore
import Catalog
import Limits
import Postgres

/// What replayed events have counted in limits before they were stored again: without a feature, as a request, by their
/// tokens or their cost. There they count no second time.
struct ReplayedUses {
    private let originals: [TenantEventKey: StoredEvent]
    private let counted: [TenantID: CountedUses]
    private let now: Instant

    static let none = ReplayedUses(originals: [:], counted: [:], now: .minimum)

    private init(originals: [TenantEventKey: StoredEvent], counted: [TenantID: CountedUses], now: Instant) {
        self.originals = originals
        self.counted = counted
        self.now = now
    }

    /// - Parameters:
    ///   - originals: as they were stored first, by the keys under which they are stored again.
    ///   - tenants: of these.
    init(
        _ originals: [TenantEventKey: StoredEvent],
        of tenants: [TenantSnapshot],
        _ surroundings: LimitSurroundings,
        in transaction: borrowing Transaction
    ) throws {
        var counted: [TenantID: CountedUses] = [:]
        for tenant in tenants {
            let limits = surroundings.limits(of: tenant).filter { !$0.isQuota }
            counted[tenant.id] = try CountedUses(in: Array(limits), of: tenant.id, transaction)
        }
        self.init(originals: originals, counted: counted, now: surroundings.now)
    }

    /// The uses of an event without those that it has counted in already. Where its cost is another by now, the one
    /// of before is taken out.
    func rest(
        of uses: [LimitUse],
        by pending: PendingEvent,
        of tenant: TenantSnapshot,
        _ matching: inout LimitMatching,
        _ windows: inout WindowCache,
        in tally: inout LimitTally
    ) throws -> [LimitUse] {
        guard let original = originals[TenantEventKey(tenant: tenant.id, key: pending.event.key)],
            let counted = counted[tenant.id]
        else { return uses }
        let used = LimitedUse(original, measurements: [], place: pending.place)
        var amounts: [LimitRow: FixedDecimal] = [:]
        for use in matching.uses(of: used, by: tenant, windows: &windows) {
            guard case .known(let amount) = use.amount, counted.counted(original, in: use.limit, at: pending.place)
            else { continue }
            amounts[use.row] = amount
        }
        return try uses.filter { use in
            guard let before = amounts[use.row] else { return true }
            if case .known(before) = use.amount { return false }
            // Its row, with what was counted, may be gone.
            if LimitRetention.mayBeGone(windowUntil: use.window.end, at: now) { return false }
            do {
                try tally.withdraw(use, before, by: tenant)
            } catch {
                throw CounterOverflow(tenant: tenant.id, feature: nil)
            }
            return true
        }
    }
}
