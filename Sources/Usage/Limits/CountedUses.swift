import BillingCore
import Catalog
import Limits
import Postgres

/// Tells which limits stored events have counted in, in the order in which usage was stored: not in budgets that were
/// made after it, nor, where no subscription covered it then, in limits that follow its plan.
struct CountedUses {
    private let budgets: [LimitID: BudgetStart]
    private let subscriptions: [SubscriptionID: SubscriptionCoverage]

    init(budgets: [LimitID: BudgetStart], subscriptions: [SubscriptionID: SubscriptionCoverage]) {
        self.budgets = budgets
        self.subscriptions = subscriptions
    }

    /// - Parameter limits: those that may be asked about.
    init(in limits: [Limit], of tenant: TenantID, _ transaction: borrowing Transaction) throws {
        let asked = Set(limits.filter(\.isBudget).map(\.id)).sorted()
        let starts =
            asked.isEmpty ? [] : try transaction.query(BudgetStart.of(asked, in: tenant), BudgetStart.decode)
        let isPlanAsked = limits.contains(where: \.followsSubscription)
        self.init(
            budgets: Dictionary(starts.map { ($0.limit, $0) }) { first, _ in first },
            subscriptions: isPlanAsked ? try SubscriptionStore.coverage(of: tenant, in: transaction) : [:]
        )
    }

    /// Whether the event has counted in the limit.
    func counted(_ event: StoredEvent, in limit: Limit, at place: EventPlace?) -> Bool {
        if let start = budgets[limit.id],
            !start.counts(ledgerSequence: event.ledgerSequence, catalogVersion: event.catalogVersion)
        {
            return false
        }
        guard limit.followsSubscription, let place, let coverage = subscriptions[place.subscription.id] else {
            return true
        }
        return coverage.coveredWhenStored(time: event.time, ledgerSequence: event.ledgerSequence)
    }
}

extension Limit {
    fileprivate var followsSubscription: Bool { !isQuota && followsPlan }
}
