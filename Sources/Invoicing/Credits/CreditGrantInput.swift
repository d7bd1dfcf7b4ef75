import BillingCore
import Web

/// The body of a new credit.
struct CreditGrantInput: Sendable {
    let name: String
    let kind: AvailableCredit.Kind
    let amount: FixedDecimal
    let priority: Int
    let expiresAt: Instant?

    private static let priorities = 0...1_000

    static func read(_ fields: JSONObjectReader, currency: Currency, now: Instant) throws -> CreditGrantInput {
        let kind = fields.choice("kind", of: AvailableCredit.Kind.self)
        fields.requireCurrency(currency)
        let input = CreditGrantInput(
            name: fields.string("name"),
            kind: kind ?? .promotional,
            amount: fields.amount("amount", in: currency),
            priority: fields.integer("priority", in: priorities, default: 0),
            expiresAt: fields.optionalInstant("expires_at")
        )
        if let expiry = input.expiresAt, expiry <= now {
            fields.fault(at: "expires_at", code: "out_of_range", detail: "\"expires_at\" must lie in the future")
        }
        try fields.finish()
        return input
    }
}

extension CreditGrant {
    init(_ input: CreditGrantInput, id: CreditGrantID, tenant: TenantID, currency: Currency, now: Instant) {
        self.init(
            id: id,
            tenantID: tenant,
            kind: input.kind,
            name: input.name,
            currency: currency,
            amount: input.amount,
            remaining: input.amount,
            priority: input.priority,
            expiresAt: input.expiresAt,
            origin: .api,
            originID: nil,
            createdAt: now,
            voidedAt: nil,
            updatedAt: now,
            revision: 1
        )
    }
}
