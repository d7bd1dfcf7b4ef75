/// Scopes that go together, named for who needs them. A preset is resolved when a credential is made: changing one here
/// changes no credential that exists.
package enum ScopePreset: String, Sendable, CaseIterable {
    /// What carries the calls: asks before one and reports after it.
    case gateway
    /// Closes the month: invoices, and what explains them.
    case finance
    /// A customer, looking at what is its own. Nothing here shows what providers bill the operator.
    case portal
    /// Everything.
    case `operator`

    package var scopes: ScopeSet {
        switch self {
        case .gateway: [.eventsWrite, .admissionsWrite, .quotasRead]
        case .finance:
            [
                .invoicesRead, .invoicesWrite, .reportsRead, .tenantsRead, .catalogRead, .subscriptionsRead,
                .budgetsRead, .quotasRead,
            ]
        case .portal: [.quotasRead, .invoicesRead, .subscriptionsRead]
        case .operator: .all
        }
    }
}
