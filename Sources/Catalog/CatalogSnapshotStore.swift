package import Postgres

/// Reads the shared catalogue.
package enum CatalogSnapshotStore {
    /// The version is read first: a change in between makes the snapshot look older than it is, never newer.
    /// - Parameter known: what providers charge, as read earlier; it is read again only if it has changed since.
    package static func read(
        reusing known: CostCatalog = .empty,
        in transaction: borrowing Transaction
    ) throws -> CatalogSnapshot {
        let versions = try CatalogVersion.readBoth(in: transaction)
        let costs =
            known.version == versions.prices ? known : try CostCatalog(version: versions.prices, in: transaction)
        let meters = try MeterStore.all(in: transaction)
        let features = try FeatureStore.all(in: transaction)
        return CatalogSnapshot(version: versions.catalog, meters: meters, features: features, costs: costs)
    }
}
