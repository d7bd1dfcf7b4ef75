/// What a credential may do. The names are those of the contract; `*` is a shorthand for the read and the write
/// scope of a family and is resolved when a key is made.
package enum Scope: String, Sendable, CaseIterable {
    case eventsWrite = "events:write"
    case eventsRead = "events:read"
    case eventsBackfill = "events:backfill"
    case admissionsWrite = "admissions:write"
    case quotasRead = "quotas:read"
    case tenantsRead = "tenants:read"
    case tenantsWrite = "tenants:write"
    case catalogRead = "catalog:read"
    case catalogWrite = "catalog:write"
    case subscriptionsRead = "subscriptions:read"
    case subscriptionsWrite = "subscriptions:write"
    case budgetsRead = "budgets:read"
    case budgetsWrite = "budgets:write"
    case invoicesRead = "invoices:read"
    case invoicesWrite = "invoices:write"
    case reportsRead = "reports:read"
    case webhooksRead = "webhooks:read"
    case webhooksWrite = "webhooks:write"
    case identityWrite = "identity:write"
    case guardWrite = "guard:write"
    case auditRead = "audit:read"

    fileprivate var bit: UInt32 {
        Self.bits[self] ?? 0
    }

    private static let bits: [Scope: UInt32] = Dictionary(
        uniqueKeysWithValues: allCases.enumerated().map { ($1, UInt32(1) << UInt32($0)) }
    )
}

/// A set of scopes in one word, because it is compared on every request.
package struct ScopeSet: OptionSet, Sendable, Hashable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    package init(_ scopes: some Sequence<Scope>) {
        self.rawValue = scopes.reduce(0) { $0 | $1.bit }
    }

    package init(_ scope: Scope) {
        self.rawValue = scope.bit
    }

    package static let all = ScopeSet(Scope.allCases)

    package var scopes: [Scope] {
        Scope.allCases.filter { rawValue & $0.bit != 0 }
    }

    package var names: [String] {
        scopes.map(\.rawValue)
    }

    /// The scopes a name stands for: one scope, or with `family:*` the family's read and write scopes. Nil when
    /// it names nothing.
    package init?(name: String) {
        if let scope = Scope(rawValue: name) {
            self.init(scope)
            return
        }
        guard name.hasSuffix(":*") else { return nil }
        let family = name.dropLast()
        let members = ["read", "write"].compactMap { Scope(rawValue: family + $0) }
        guard !members.isEmpty else { return nil }
        self.init(members)
    }
}
