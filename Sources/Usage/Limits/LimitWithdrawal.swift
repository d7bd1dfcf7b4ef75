import BillingCore
import Catalog
import Limits
import Postgres

/// Takes a tenant's voided events out of the limits that they counted in.
struct LimitWithdrawal {
    struct Voided {
        let original: StoredEvent
        let measurements: [Measurement]
        let place: EventPlace?
        /// By how much the tenant's charges moved, for each feature.
        let charges: [FeatureID: FixedDecimal]
    }

    let tenant: TenantSnapshot
    let surroundings: LimitSurroundings

    func run(_ voided: [Voided], in transaction: borrowing Transaction) throws {
        var matching = surroundings.matching
        var windows = WindowCache(zone: tenant.zone)
        let all = voided.map { event in
            let used = LimitedUse(event.original, measurements: event.measurements, place: event.place)
            let uses = matching.uses(of: used, by: tenant, windows: &windows)
                .filter { !LimitRetention.mayBeGone(windowUntil: $0.window.end, at: surroundings.now) }
            return (event: event, uses: uses)
        }
        let known = try CountedUses(in: all.flatMap(\.uses).map(\.limit), of: tenant.id, transaction)
        var tally = LimitTally()
        for (event, uses) in all {
            for use in uses where known.counted(event.original, in: use.limit, at: event.place) {
                guard let amount = try amount(of: use, event) else { continue }
                try tally.withdraw(use, amount, by: tenant)
            }
        }
        let drafts = try tally.write(surroundings, chargesMovedOf: [tenant], isVoid: true, in: transaction)
        try AlertStore.raise(drafts, at: surroundings.now, ids: surroundings.ids, in: transaction)
    }

    /// Nil where it is not known what it had counted.
    private func amount(of use: LimitUse, _ event: Voided) throws -> FixedDecimal? {
        switch use.amount {
        case .known(let amount): amount
        case .charge(let feature): try moved(event, feature, isWhole: use.limit.boundsAllCharges).negated
        case .unpriced: nil
        }
    }

    /// What counts of the charges in a limit. Those of distinct values count in limits on all that a tenant is charged
    /// alone, because what is narrower was never told of them.
    private func moved(_ event: Voided, _ feature: FeatureID?, isWhole: Bool) throws -> FixedDecimal {
        try event.charges.reduce(FixedDecimal.zero) { sum, charge in
            let isDistinct = event.measurements.contains { $0.feature == charge.key && $0.isDistinct }
            guard feature == nil || feature == charge.key, isWhole || !isDistinct else { return sum }
            return try sum.adding(charge.value)
        }
    }
}
