package import BillingCore

/// What has admission refuse calls for a time: those within a scope, whatever limits would say.
package struct Mitigation: Sendable, Hashable {
    package let id: MitigationID
    /// The calls that it refuses. No dimension is one of `"*"`.
    package let scope: BudgetScope
    /// Why, in the words of whoever made it.
    package let reason: String
    package let createdAt: Instant
    /// When it ends unless it is lifted.
    package let expiresAt: Instant
    /// When it was lifted, or `expiresAt` once its end has been told.
    package var endedAt: Instant?
    package var liftReason: String?

    package enum Status: String, Sendable, CaseIterable {
        case active, lifted, expired
    }

    package init(
        id: MitigationID,
        scope: BudgetScope,
        reason: String,
        createdAt: Instant,
        expiresAt: Instant,
        endedAt: Instant? = nil,
        liftReason: String? = nil
    ) {
        self.id = id
        self.scope = scope
        self.reason = reason
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.endedAt = endedAt
        self.liftReason = liftReason
    }

    package func status(at now: Instant) -> Status {
        if let endedAt { return endedAt < expiresAt ? .lifted : .expired }
        return now < expiresAt ? .active : .expired
    }
}

/// The mitigations of a catalogue, as admission looks for those that concern a tenant.
package struct Mitigations: Sendable {
    private let ofEveryTenant: [Mitigation]
    private let byTenant: [String: [Mitigation]]

    /// - Parameter open: those that are not lifted, and whose end has not been told.
    init(_ open: [Mitigation]) {
        ofEveryTenant = open.filter { $0.scope.tenant == nil }
        byTenant = Dictionary(grouping: open.filter { $0.scope.tenant != nil }) { $0.scope.exact(.tenant) ?? "" }
    }

    package var isEmpty: Bool { ofEveryTenant.isEmpty && byTenant.isEmpty }

    /// Of those that name the tenant, or none, and are in force at the time, the one that lasts longest of which the
    /// rest of the scope admits a call.
    package func longestLasting(of tenant: TenantSnapshot, at now: Instant, admits: (BudgetScope) -> Bool)
        -> Mitigation?
    {
        var longest: Mitigation?
        for mitigations in [ofEveryTenant, byTenant[tenant.key] ?? []] {
            for mitigation in mitigations
            where mitigation.expiresAt > longest?.expiresAt ?? now && admits(mitigation.scope) { longest = mitigation }
        }
        return longest
    }
}
