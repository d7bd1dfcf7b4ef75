import BillingCore
import Catalog
import Web

/// The body of a new mitigation.
struct MitigationInput: Sendable {
    /// Whoever means to refuse calls for longer looks at it again.
    static let longestSeconds: Int64 = 30 * 86_400
    static let longestReasonCharacters = 500

    let scope: BudgetScope
    let reason: String
    let seconds: Int64

    init(_ fields: JSONObjectReader) throws {
        scope = fields.object("scope") { BudgetScope.read($0, allowsEach: false) } ?? BudgetScope()
        reason = fields.string("reason", maximumLength: Self.longestReasonCharacters)
        seconds = fields.integer("ttl_seconds", in: 1...Self.longestSeconds)
        try fields.finish()
    }
}
