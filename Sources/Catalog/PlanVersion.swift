package import BillingCore

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

/// What a plan version says: fees, charges and quotas in the order they were written, and its terms. Billed monthly.
package struct PlanDefinition: Sendable {
    package internal(set) var fees: [Fee]
    package internal(set) var charges: [Charge]
    package internal(set) var quotas: [Quota]
    package internal(set) var terms: PlanTerms

    package init(
        fees: [Fee] = [],
        charges: [Charge] = [],
        quotas: [Quota] = [],
        terms: PlanTerms = PlanTerms()
    ) {
        self.fees = fees
        self.charges = charges
        self.quotas = quotas
        self.terms = terms
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
    /// The charges that count by cells.
    package let matrices: [FeatureID: MatrixPrice]

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
        matrices = charges.compactMapValues { price in
            guard case .matrix(let matrix) = price else { return nil }
            return matrix
        }
    }

    package var fees: [Fee] { definition.fees }
    package var quotas: [Quota] { definition.quotas }
    package var terms: PlanTerms { definition.terms }

    /// Whether the plan names the feature at all, by a charge or by a quota.
    package func mentions(_ feature: FeatureID) -> Bool {
        charges[feature] != nil || quotas.contains { $0.featureID == feature }
    }
}
