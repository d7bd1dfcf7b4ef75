package import BillingCore
import Web

/// Credit that was granted to a tenant.
package struct CreditGrant: Sendable {
    /// What made it, by its name in the table.
    package enum Origin: String, Sendable, Hashable, CaseIterable {
        case api, invoice
        case creditNote = "credit_note"
    }

    package let id: CreditGrantID
    package let tenantID: TenantID
    package let kind: AvailableCredit.Kind
    package let name: String
    package let currency: Currency
    package let amount: FixedDecimal
    package var remaining: FixedDecimal
    package let priority: Int
    package let expiresAt: Instant?
    package let origin: Origin
    /// The invoice or credit note that made it.
    package let originID: UUIDv7?
    package let createdAt: Instant
    package var voidedAt: Instant?
    package var updatedAt: Instant
    package var revision: Int64

    /// What the arithmetic uses of it.
    var available: AvailableCredit {
        AvailableCredit(
            id: id.rawValue,
            kind: kind,
            priority: priority,
            expiresAt: expiresAt,
            createdAt: createdAt,
            remaining: remaining
        )
    }
}

/// What is taken off a tenant's invoices, as it is stored.
package struct DiscountRecord: Sendable {
    /// How many invoices it applies to, by its name in the API.
    package enum Duration: String, Sendable, Hashable, CaseIterable {
        case once, repeating, forever
    }

    package let id: DiscountID
    package let tenantID: TenantID
    package let name: String
    package let value: Discount
    package let duration: Duration
    /// On how many invoices; nil for all.
    package let repeats: Int?
    package var uses: Int
    package let createdAt: Instant
    package var endedAt: Instant?
    package var updatedAt: Instant
    package var revision: Int64
}
