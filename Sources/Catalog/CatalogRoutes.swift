package import Postgres
package import Web

/// The operations of this room: tenants, meters, features, plans and their versions, subscriptions.
package struct CatalogRoutes: Sendable {
    private let desk: CatalogDesk
    private let rateEarlierUsage: RateEarlierUsage

    package init(
        pool: PostgresPool,
        catalog: Catalog,
        rateEarlierUsage: @escaping RateEarlierUsage
    ) {
        desk = CatalogDesk(pool: pool, writes: IdempotentWrites(pool: pool), catalog: catalog)
        self.rateEarlierUsage = rateEarlierUsage
    }

    package func register(in operations: Operations) {
        TenantRoutes(desk: desk).register(in: operations)
        MeterRoutes(desk: desk).register(in: operations)
        FeatureRoutes(desk: desk).register(in: operations)
        PlanRoutes(desk: desk).register(in: operations)
        PlanVersionRoutes(desk: desk).register(in: operations)
        let service = SubscriptionService(catalog: desk.catalog, rateEarlierUsage: rateEarlierUsage)
        SubscriptionRoutes(desk: desk, service: service).register(in: operations)
    }
}
