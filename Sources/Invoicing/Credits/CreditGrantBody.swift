import BillingCore
import Web

/// Where a credit is in its life.
///
/// active -> used | expired | void; used -> active when an invoice that used it is voided. What expired or void credit
/// gets back stays expired or void.
enum CreditGrantStatus: String, Sendable, CaseIterable {
    case active, used, expired, void
}

extension CreditGrant {
    func status(at now: Instant) -> CreditGrantStatus {
        if voidedAt != nil { return .void }
        if remaining.isZero { return .used }
        if let expiresAt, expiresAt <= now { return .expired }
        return .active
    }
}

/// A credit as it is answered.
struct CreditGrantBody: Encodable, Sendable {
    struct Origin: Encodable, Sendable {
        let type: String
        /// The invoice or credit note that made it; nil for a request.
        let id: UUIDv7?
    }

    let id: CreditGrantID
    let tenant: String
    let name: String
    let kind: String
    let status: String
    let currency: String
    let amount: String
    let used: String
    /// What invoices may still use: nothing once it is expired or void.
    let remaining: String
    let priority: Int
    let expiresAt: Instant?
    let origin: Origin
    let createdAt: Instant
    let voidedAt: Instant?
    let updatedAt: Instant

    init(_ grant: CreditGrant, tenant: String, now: Instant) throws {
        let money = grant.currency.formatted
        let status = grant.status(at: now)
        id = grant.id
        self.tenant = tenant
        name = grant.name
        kind = grant.kind.rawValue
        self.status = status.rawValue
        currency = grant.currency.code
        amount = money(grant.amount)
        used = money(try grant.amount.subtracting(grant.remaining))
        remaining = money(status == .active ? grant.remaining : .zero)
        priority = grant.priority
        expiresAt = grant.expiresAt
        origin = Origin(type: grant.origin.rawValue, id: grant.originID)
        createdAt = grant.createdAt
        voidedAt = grant.voidedAt
        updatedAt = grant.updatedAt
    }
}

/// What an invoice used of a credit, as it is answered.
struct CreditApplicationBody: Encodable, Sendable {
    let invoice: InvoiceID
    let invoiceNumber: String
    let amount: String
    let appliedAt: Instant
    /// When the invoice was voided and the amount came back; nil while it is used.
    let returnedAt: Instant?

    init(_ application: CreditGrantStore.Application, currency: Currency) {
        invoice = application.invoice
        invoiceNumber = application.number
        amount = Money(application.amount, currency).formatted
        appliedAt = application.appliedAt
        returnedAt = application.returnedAt
    }
}
