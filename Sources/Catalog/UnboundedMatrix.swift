import BillingCore

/// A matrix whose default price counts each combination of values on its own, over dimensions to whose values there is
/// no end: every new one is one more counter in each billing period, and a line of its own on the invoice.
struct UnboundedMatrix: Sendable, Equatable {
    /// Of a model call there are as many as the operator has models.
    private static let fewValues: Set<String> = ["provider", "model"]

    /// The charge's position in `charges`.
    let index: Int
    let feature: String
    let dimensions: [String]

    static func find(in charges: [Charge], features: [FeatureID: MeteredFeature]) -> [UnboundedMatrix] {
        charges.enumerated().compactMap { index, charge in
            guard case .matrix(let matrix) = charge.price, matrix.defaultPrice != nil,
                let metered = features[charge.featureID]
            else { return nil }
            let properties = Dictionary(metered.meter.definition.dimensions.map { ($0.name, $0.property) }) {
                first,
                _ in first
            }
            let open = matrix.dimensions.filter { name in
                metered.possibleValues(of: name) == nil && !fewValues.contains(properties[name] ?? name)
            }
            guard !open.isEmpty else { return nil }
            return UnboundedMatrix(index: index, feature: charge.featureKey, dimensions: open)
        }
    }
}
