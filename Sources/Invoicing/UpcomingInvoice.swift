package import BillingCore
package import Catalog
package import Postgres
package import Web

/// The invoice that a tenant's current billing period comes to so far, from the same counters and by the same functions
/// that the final one is made of. In a trial it is the opening one, of the fees in advance.
package enum UpcomingInvoice {
    /// The body as a transaction sees it, which has perhaps changed the tenant's subscription; nil where no
    /// subscription covers the instant.
    /// - Throws: the problem `amount_out_of_range` when it is more than an amount can hold.
    package static func body(
        of tenant: TenantID,
        at instant: Instant,
        catalog: CatalogSnapshot,
        in transaction: borrowing Transaction
    ) throws -> JSONValue? {
        do {
            guard let whole = try whole(of: tenant, at: instant, catalog: catalog, in: transaction) else { return nil }
            return try InvoiceBody(whole, isStored: false, now: instant).value
        } catch let fault as InvoiceFault {
            throw fault.problem
        }
    }

    static func whole(
        of tenant: TenantID,
        at instant: Instant,
        catalog: CatalogSnapshot,
        in transaction: borrowing Transaction
    ) throws -> WholeInvoice? {
        let tenants = try TenantSnapshotStore.read([tenant], plans: [:], now: instant, in: transaction)
        guard let subscription = tenants.first?.subscription(covering: instant),
            let period = subscription.period(containing: instant)
        else { return nil }
        let isTrial = period.index == SubscriptionSnapshot.trialIndex
        let index = isTrial ? period.index + 1 : period.index
        let draft = StoredInvoice(
            id: InvoiceID(rawValue: .zero),
            tenantID: tenant,
            subscriptionID: subscription.id,
            kind: isTrial ? .opening : .regular,
            periodIndex: index,
            period: subscription.interval(ofPeriod: index),
            createdAt: instant,
            issuedAt: instant
        )
        return try InvoiceReading.computed(draft, catalog: catalog, now: instant, in: transaction)
    }
}
