package import Postgres

/// Reads the shared catalogue.
package enum CatalogSnapshotStore {
    /// The version is read first: a change in between makes the snapshot look older than it is, never newer.
    /// - Parameter known: as read earlier; only what has changed since is read again.
    package static func read(
        reusing known: CatalogSnapshot = .empty,
        in transaction: borrowing Transaction
    ) throws -> CatalogSnapshot {
        let versions = try CatalogVersion.readBoth(in: transaction)
        if versions.catalog == known.version { return known }
        let costs =
            known.costs.version == versions.prices
            ? known.costs : try CostCatalog(version: versions.prices, in: transaction)
        let meters = try MeterStore.all(in: transaction)
        let features = try FeatureStore.all(in: transaction)
        let budgets = try BudgetStore.shared(in: transaction)
        let mitigations = try MitigationStore.open(in: transaction)
        return CatalogSnapshot(
            version: versions.catalog,
            meters: meters,
            features: features,
            costs: costs,
            budgets: budgets,
            mitigations: mitigations
        )
    }
}
