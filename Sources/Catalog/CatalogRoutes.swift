package import BillingCore
package import Postgres
package import Web

/// The operations of this room: tenants and their own quotas, meters, features, plans and their versions,
/// subscriptions, and what providers charge.
package struct CatalogRoutes: Sendable {
    private let desk: CatalogDesk
    private let usage: StoredUsageAccess
    private let invoices: UpcomingInvoiceAccess
    private let taxed: TaxedInvoiceAccess
    private let costCurrency: Currency

    /// - Parameter costCurrency: the operator's, in which provider costs are.
    package init(
        pool: PostgresPool,
        catalog: Catalog,
        usage: StoredUsageAccess,
        invoices: UpcomingInvoiceAccess,
        taxed: TaxedInvoiceAccess,
        costCurrency: Currency = .usd
    ) {
        desk = CatalogDesk(pool: pool, catalog: catalog)
        self.usage = usage
        self.invoices = invoices
        self.taxed = taxed
        self.costCurrency = costCurrency
    }

    package func register(in operations: Operations) {
        TenantRoutes(desk: desk, taxed: taxed).register(in: operations)
        MeterRoutes(desk: desk).register(in: operations)
        FeatureRoutes(desk: desk).register(in: operations)
        PlanRoutes(desk: desk).register(in: operations)
        PlanVersionRoutes(desk: desk).register(in: operations)
        PriceBookRoutes(desk: desk, costCurrency: costCurrency).register(in: operations)
        FXRateRoutes(desk: desk).register(in: operations)
        let service = SubscriptionService(catalog: desk.catalog, usage: usage)
        SubscriptionRoutes(desk: desk, service: service, invoices: invoices).register(in: operations)
        QuotaOverrideRoutes(desk: desk, usage: usage).register(in: operations)
    }
}
