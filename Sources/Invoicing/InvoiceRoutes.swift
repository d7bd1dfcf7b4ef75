import HTTPTypes
import BillingCore
package import Catalog
package import Postgres
import Usage
package import Web

/// `GET /tenants/{key}/upcoming-invoice`.
package struct InvoiceRoutes: Sendable {
    let catalog: Catalog
    let pool: PostgresPool

    package init(catalog: Catalog, pool: PostgresPool) {
        self.catalog = catalog
        self.pool = pool
    }

    package func register(in operations: Operations) {
        operations.get(
            "/tenants/{key}/upcoming-invoice",
            "getUpcomingInvoice",
            scope: .invoicesRead,
            handler: upcoming
        )
    }

    @Sendable
    private func upcoming(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let key = try context.tenantKey(in: request)
        guard let tenant = try await catalog.tenant(key: key) else { throw Problem.notFound("tenant", key) }
        let now = context.clock.now()
        guard let subscription = tenant.subscription(covering: now), let period = subscription.period(containing: now)
        else {
            throw Problem(
                .notFound,
                code: "subscription_not_found",
                detail: "The tenant '\(key)' has no subscription now, so no invoice is coming up."
            )
        }
        let counters = try await pool.query(
            .interactive,
            as: .tenant(tenant.id.rawValue),
            CounterStore.counters(tenant: tenant.id, subscription: subscription.id, periodIndex: period.index),
            CounterStore.decodeOfPeriod
        )
        let invoice = try UpcomingInvoice.refusing(subscription: subscription, period: period, counters: counters)
        return try Answer.json(InvoiceBody(upcoming: invoice, tenant: tenant, catalog: catalog.current))
    }
}
