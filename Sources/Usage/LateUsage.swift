import BillingCore
import Catalog
import Postgres

/// The billing periods whose usage a transaction changes after their end: where their invoice is final already, they
/// are marked for an adjustment, under the ledger lock that decides which came first.
struct LateUsage {
    private var tenants: [BillingPeriodID: TenantID] = [:]

    /// - Parameter now: when the change is received.
    mutating func note(_ place: EventPlace?, of tenant: TenantID, at now: Instant) {
        guard let place, let id = place.billingPeriodID else { return }
        // A subscription that ended within the period was invoiced then.
        let end = min(place.period.end, place.subscription.endsAt ?? .maximum)
        guard PeriodClosingStore.mayBeClosed(endingAt: end, at: now) else { return }
        tenants[id] = tenant
    }

    func enqueue(in transaction: borrowing Transaction) {
        guard !tenants.isEmpty else { return }
        let marked = tenants.sorted { $0.key < $1.key }
        transaction.enqueue(PeriodClosingStore.markLate(marked.map(\.value), marked.map(\.key)))
    }
}
