package import BillingCore

/// What a credential may be used for within its scopes. Nil means no narrowing of that kind; what a request does not
/// say is not allowed where it is narrowed, because it can't be shown to be within.
package struct Narrowing: Sendable, Hashable {
    /// Which models may be used, by name, or by how the name starts: `gpt-4o*`.
    package let models: [ModelPattern]?
    /// Which values the `feature` of a usage event or an admission may have.
    package let features: Set<ExactText>?
    /// Which values its `data_class` may have.
    package let dataClasses: Set<ExactText>?

    package init(models: [ModelPattern]? = nil, features: [String]? = nil, dataClasses: [String]? = nil) {
        self.models = models
        self.features = features.map { Set($0.map { ExactText($0) }) }
        self.dataClasses = dataClasses.map { Set($0.map { ExactText($0) }) }
    }

    package static let none = Narrowing()

    /// What of a use is beyond the narrowing; each has a code and a place in the use's `data`.
    package enum Refusal: String, Sendable, CaseIterable {
        case model, feature, dataClass = "data_class"

        package var code: String { "\(rawValue)_not_allowed" }
        package var pointer: String { "/data/\(rawValue)" }
        package var detail: String { "this credential may not be used for this \"\(rawValue)\", or for none" }
    }

    /// Why a use is refused, in a sentence.
    /// - Parameter use: what it is, `call`.
    package static func refusal(of use: String, for beyond: [Refusal]) -> String {
        let names = beyond.map { "\"\($0.rawValue)\"" }.joined(separator: " and ")
        return "This credential may not be used for this \(use), because of its \(names)."
    }

    /// Nil stands for what the use does not say. A value is asked for only where it matters.
    package func refusals(
        model: @autoclosure () -> String?,
        feature: @autoclosure () -> String?,
        dataClass: @autoclosure () -> String?
    ) -> [Refusal] {
        var refusals: [Refusal] = []
        if let models {
            let model = model()
            if !models.contains(where: { pattern in model.map(pattern.matches) ?? false }) { refusals.append(.model) }
        }
        if let features, !features.contains(anyOf: feature()) { refusals.append(.feature) }
        if let dataClasses, !dataClasses.contains(anyOf: dataClass()) { refusals.append(.dataClass) }
        return refusals
    }
}

extension Set<ExactText> {
    fileprivate func contains(anyOf value: String?) -> Bool {
        value.map { contains(ExactText($0)) } ?? false
    }
}

/// Who the usage of a credential is attributed to, whatever its events claim.
package struct Attribution: Sendable, Hashable {
    /// The OAuth client or API key, as `Principal.credentialID` names it; nil for a credential of a person.
    package let clientID: String?
    /// Replaces the cost centre of the events; nil leaves theirs.
    package let costCenter: String?

    package init(clientID: String? = nil, costCenter: String? = nil) {
        self.clientID = clientID
        self.costCenter = costCenter
    }

    package static let none = Attribution()
}
