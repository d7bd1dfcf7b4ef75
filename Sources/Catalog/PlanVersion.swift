package import BillingCore

/// When a fee is put on an invoice: before the period it pays for, or after.
package enum FeeTiming: String, Sendable, Hashable, CaseIterable {
    case inAdvance = "in_advance"
    case inArrears = "in_arrears"
}

/// A fixed amount per period, in the plan's currency.
package struct Fee: Sendable, Hashable {
    package let key: String
    package let name: String
    package let amount: FixedDecimal
    package let charged: FeeTiming

    package init(key: String, name: String, amount: FixedDecimal, charged: FeeTiming) {
        self.key = key
        self.name = name
        self.amount = amount
        self.charged = charged
    }
}

/// The price of one feature in a plan version.
package struct Charge: Sendable {
    package let featureID: FeatureID
    package let featureKey: String
    package let price: Price

    package init(featureID: FeatureID, featureKey: String, price: Price) {
        self.featureID = featureID
        self.featureKey = featureKey
        self.price = price
    }
}

/// What a plan version says: fees, charges and quotas in the order they were written. Billed monthly.
package struct PlanDefinition: Sendable {
    package let fees: [Fee]
    package let charges: [Charge]
    package let quotas: [Quota]

    package init(fees: [Fee] = [], charges: [Charge] = [], quotas: [Quota] = []) {
        self.fees = fees
        self.charges = charges
        self.quotas = quotas
    }
}

/// A published plan version as rating and invoicing read it: immutable, one instance shared by every subscription.
package final class PlanVersion: Sendable {
    package let id: PlanVersionID
    package let planID: PlanID
    package let planKey: String
    package let planName: String
    package let version: Int
    package let currency: Currency
    package let definition: PlanDefinition
    /// The price of each charged feature. A feature with only a quota is included; one that is neither here nor in
    /// `quotas` is unpriced.
    package let charges: [FeatureID: Price]

    package init(
        id: PlanVersionID,
        planID: PlanID,
        planKey: String,
        planName: String,
        version: Int,
        currency: Currency,
        definition: PlanDefinition
    ) {
        self.id = id
        self.planID = planID
        self.planKey = planKey
        self.planName = planName
        self.version = version
        self.currency = currency
        self.definition = definition
        charges = Dictionary(definition.charges.map { ($0.featureID, $0.price) }) { first, _ in first }
    }

    package var fees: [Fee] { definition.fees }
    package var quotas: [Quota] { definition.quotas }

    /// Whether the plan names the feature at all, by a charge or by a quota.
    package func mentions(_ feature: FeatureID) -> Bool {
        charges[feature] != nil || quotas.contains { $0.featureID == feature }
    }
}
