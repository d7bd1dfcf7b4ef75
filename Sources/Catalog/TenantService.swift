package import BillingCore
package import Postgres

/// What this room asks of the room of invoices about the taxes of invoices that stand.
package struct TaxedInvoiceAccess: Sendable {
    package typealias Number = @Sendable (borrowing Transaction, TenantID) throws -> String?
    package typealias OtherRate =
        @Sendable (borrowing Transaction, TenantID, [TaxRate]) throws -> (
            key: String, invoice: String
        )?

    /// The number of an invoice that has tax; nil without one.
    package let number: Number
    /// One of the rates by whose key an invoice was taxed with another percentage, and the number of that invoice.
    package let otherRate: OtherRate

    package init(number: @escaping Number, otherRate: @escaping OtherRate) {
        self.number = number
        self.otherRate = otherRate
    }
}

/// The work on tenants that spans their row, their subjects and their ledger.
enum TenantService {
    /// Inserts a tenant with its key and subjects registered. `subjects` stand as in the request.
    static func create(_ tenant: Tenant, subjects: [String], in transaction: borrowing Transaction) throws {
        let taken = try SubjectDirectory.register([tenant.key], isKey: true, for: tenant.id, in: transaction)
        guard taken.isEmpty else {
            guard try TenantStore.find(key: tenant.key, in: transaction) != nil else {
                throw CatalogFault.subjectsTaken([.init(pointer: "/key", subject: tenant.key)])
            }
            throw CatalogFault.keyTaken(.tenant, tenant.key)
        }
        try TenantLedger.lockAndBump(tenant.id, in: transaction)
        try TenantStore.insert(tenant, in: transaction)
        try register(subjects, among: subjects, for: tenant.id, in: transaction)
    }

    /// The tenant, its ledger row locked and its catalogue version raised.
    static func lock(_ key: String, in transaction: borrowing Transaction) throws -> Tenant {
        let absent = CatalogFault.notFound(.tenant, key)
        guard let found = try TenantStore.find(key: key, in: transaction) else { throw absent }
        try TenantLedger.lockAndBump(found.id, in: transaction)
        guard let tenant = try TenantStore.find(key: key, in: transaction) else { throw absent }
        return tenant
    }

    /// Writes a changed tenant and the difference of its subjects. `subjects` stand as in the request.
    static func update(
        _ tenant: Tenant,
        to changed: Tenant,
        subjects: [String],
        taxed: TaxedInvoiceAccess,
        in transaction: borrowing Transaction
    ) throws {
        if changed.zone.identifier != tenant.zone.identifier,
            try UsageLimitStore.exist(for: tenant.id, in: transaction)
                || SpendCapStore.exists(for: tenant.id, in: transaction)
                || BudgetStore.haveWindows(of: tenant.id, in: transaction)
        {
            throw CatalogFault.timezoneInUse(tenant.key)
        }
        if changed.billing.tax.isInclusive != tenant.billing.tax.isInclusive,
            let invoice = try taxed.number(transaction, tenant.id)
        {
            throw CatalogFault.taxInclusionInUse(tenant.key, invoice: invoice)
        }
        if changed.billing.tax.rates != tenant.billing.tax.rates,
            let other = try taxed.otherRate(transaction, tenant.id, changed.billing.tax.rates)
        {
            throw CatalogFault.taxRateInUse(tenant.key, rate: other.key, invoice: other.invoice)
        }
        let before = Set(tenant.subjects.map { ExactText($0) })
        let after = Set(changed.subjects.map { ExactText($0) })
        let (gone, added) = (before.subtracting(after), after.subtracting(before))
        try SubjectDirectory.release(gone.map(\.text).sorted(), of: tenant.id, in: transaction)
        try register(added.map(\.text).sorted(), among: subjects, for: tenant.id, in: transaction)
        try TenantStore.update(changed, in: transaction)
    }

    private static func register(
        _ added: [String],
        among subjects: [String],
        for tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws {
        let taken = try SubjectDirectory.register(added, for: tenant, in: transaction)
        guard taken.isEmpty else {
            throw CatalogFault.subjectsTaken(
                taken.map { subject in
                    let index = subjects.firstIndex { $0.hasSameBytes(as: subject) }.map { "/\($0)" } ?? ""
                    return .init(pointer: "/subjects\(index)", subject: subject)
                }
            )
        }
    }
}

extension Tenant {
    init(_ input: TenantInput, id: TenantID, now: Instant) {
        self.init(
            id: id,
            key: input.key,
            name: input.name,
            currency: input.currency,
            zone: input.zone,
            subjects: input.subjects.sorted(),
            costCenter: input.costCenter,
            billingEmail: input.billingEmail,
            metadata: input.metadata,
            billing: input.billing,
            status: .active,
            createdAt: now,
            updatedAt: now,
            revision: 1
        )
    }
}
