package import BillingCore
package import Catalog
import HTTPTypes
package import Postgres
import Usage
package import Web

extension UpcomingInvoice {
    /// The upcoming invoice as a transaction sees it that has perhaps changed the tenant's subscription; nil where no
    /// subscription covers the instant.
    package static func body(
        of tenant: TenantID,
        at instant: Instant,
        catalog: CatalogSnapshot,
        in transaction: borrowing Transaction
    ) throws -> JSONValue? {
        let tenants = try TenantSnapshotStore.read([tenant], plans: [:], now: instant, in: transaction)
        guard let tenant = tenants.first, let subscription = tenant.subscription(covering: instant),
            let period = subscription.period(containing: instant)
        else { return nil }
        let counters = try transaction.query(
            CounterStore.counters(tenant: tenant.id, subscription: subscription.id, periodIndex: period.index),
            CounterStore.decodeOfPeriod
        )
        let invoice = try refusing(subscription: subscription, period: period, counters: counters)
        return try JSONValue(encoding: InvoiceBody(upcoming: invoice, tenant: tenant, catalog: catalog))
    }

    /// The upcoming invoice; one that is beyond what an amount can hold is the problem `amount_out_of_range`.
    static func refusing(
        subscription: SubscriptionSnapshot,
        period: (index: Int, interval: Interval),
        counters: [PeriodCounter]
    ) throws(Problem) -> UpcomingInvoice {
        do {
            return try UpcomingInvoice(subscription: subscription, period: period, counters: counters)
        } catch {
            throw Problem(
                .unprocessableContent,
                code: "amount_out_of_range",
                detail: "The invoice comes to 10^26 or more, which is more than an amount can hold."
            )
        }
    }
}
