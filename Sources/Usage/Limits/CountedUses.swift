import BillingCore
import Catalog
import Limits
import Postgres

/// Tells which limits stored events have counted in, in the order in which usage was stored: not in budgets that were
/// made after it, nor, where no subscription covered it then, in limits that follow its plan.
struct CountedUses {
    private let budgets: [LimitID: BudgetStart]
    private let subscriptions: [SubscriptionID: SubscriptionCoverage]

    /// - Parameters:
    ///   - limits: those that may be asked about.
    ///   - places: where the events are now.
    init(
        in limits: [Limit],
        at places: [EventPlace],
        of tenant: TenantID,
        _ transaction: borrowing Transaction
    ) throws {
        let asked = Set(limits.filter(\.isBudget).map(\.id)).sorted()
        let starts =
            asked.isEmpty ? [] : try transaction.query(BudgetStart.of(asked, in: tenant), BudgetStart.decode)
        budgets = Dictionary(starts.map { ($0.limit, $0) }) { first, _ in first }
        var subscriptions: [SubscriptionID: SubscriptionCoverage] = [:]
        if limits.contains(where: Self.followsSubscription) {
            for subscription in Set(places.map(\.subscription.id)) {
                subscriptions[subscription] = try SubscriptionStore.coverage(
                    of: subscription,
                    of: tenant,
                    in: transaction
                )
            }
        }
        self.subscriptions = subscriptions
    }

    /// Whether the event has counted in the limit.
    func counted(_ event: StoredEvent, in limit: Limit, at place: EventPlace?) -> Bool {
        if let start = budgets[limit.id],
            !start.counts(ledgerSequence: event.ledgerSequence, catalogVersion: event.catalogVersion)
        {
            return false
        }
        guard Self.followsSubscription(limit), let place, let coverage = subscriptions[place.subscription.id] else {
            return true
        }
        return coverage.coveredWhenStored(time: event.time, ledgerSequence: event.ledgerSequence)
    }

    private static func followsSubscription(_ limit: Limit) -> Bool { !limit.isQuota && limit.followsPlan }
}
