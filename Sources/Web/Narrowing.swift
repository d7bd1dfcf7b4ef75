package import BillingCore

/// What a credential may be used for within its scopes. Nil means no narrowing of that kind; what a request does not
/// say is not allowed where it is narrowed, because it can't be shown to be within.
package struct Narrowing: Sendable, Hashable {
    /// Which models may be used, by name, or by how the name starts: `gpt-4o*`.
    package let models: [ModelPattern]?
    /// Which values the `feature` of a usage event or an admission may have.
    package let features: Set<String>?
    /// Which values its `data_class` may have.
    package let dataClasses: Set<String>?

    package init(models: [ModelPattern]? = nil, features: Set<String>? = nil, dataClasses: Set<String>? = nil) {
        self.models = models
        self.features = features
        self.dataClasses = dataClasses
    }

    package static let none = Narrowing()
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
