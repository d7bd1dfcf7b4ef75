import Postgres

/// Reads the shared catalogue.
enum CatalogSnapshotStore {
    /// The version is read first: a change in between makes the snapshot look older than it is, never newer.
    static func read(in transaction: borrowing Transaction) throws -> CatalogSnapshot {
        let version = try CatalogVersion.read(in: transaction)
        let meters = try MeterStore.all(in: transaction)
        let features = try FeatureStore.all(in: transaction)
        return CatalogSnapshot(version: version, meters: meters, features: features)
    }
}
