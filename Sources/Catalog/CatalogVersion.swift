import BillingCore
package import Postgres

/// The version of the shared catalogue.
package enum CatalogVersion {
    /// The version in force, as this transaction sees it. Also a statement for a pipeline: one row, one column.
    package static let current: SQL = "SELECT version FROM catalog_version"

    package static func read(in transaction: borrowing Transaction) throws(PostgresError) -> Int64 {
        let version = try transaction.first(current) { row throws(PostgresError) in try row.next(Int64.self) }
        return version ?? 0
    }

    /// What a version is raised to: the time in microseconds where that is more than the next number. So no version is
    /// given out twice, also not by a database that was restored, or a standby that lacks the last changes: what was
    /// read at a version that is gone is never taken for what has come instead.
    static func next(after version: SQL) -> SQL {
        "greatest(\(version) + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
    }

    /// The version in force, and the one at which the price book or an exchange rate last changed.
    static func readBoth(in transaction: borrowing Transaction) throws(PostgresError) -> (catalog: Int64, prices: Int64)
    {
        let versions = try transaction.first("SELECT version, price_version FROM catalog_version") {
            row throws(PostgresError) in (try row.next(Int64.self), try row.next(Int64.self))
        }
        return versions ?? (0, 0)
    }

    /// The same as `bump`, for a change of the price book or of an exchange rate.
    static func bumpPrices(in transaction: borrowing Transaction) throws(PostgresError) -> Int64 {
        let version = try bump(in: transaction)
        transaction.enqueue("UPDATE catalog_version SET price_version = version WHERE singleton")
        HoldChangeStore.note(.operatorWide, in: transaction)
        return version
    }

    /// Keeps the catalogue as it is until the transaction ends: for what is about to name a feature of it.
    static func hold(in transaction: borrowing Transaction) throws(PostgresError) {
        try transaction.execute("SELECT version FROM catalog_version FOR KEY SHARE")
    }

    /// Raises the version and tells every replica with the commit. A transaction that changes the catalogue does
    /// this first: the row lock then makes catalogue changes take turns, so a later statement that checks whether
    /// something is in use cannot be overtaken.
    package static func bump(in transaction: borrowing Transaction) throws(PostgresError) -> Int64 {
        transaction.enqueue("SELECT version FROM catalog_version FOR UPDATE")
        return try bumpBesideHolds(in: transaction)
    }

    /// The same without waiting for those who `hold` the catalogue, which may be for as long as a tenant's usage is
    /// counted anew: for a change of nothing that they can name.
    package static func bumpBesideHolds(in transaction: borrowing Transaction) throws(PostgresError) -> Int64 {
        let version = try transaction.first(
            "UPDATE catalog_version SET version = \(next(after: "version")) WHERE singleton RETURNING version"
        ) { row throws(PostgresError) in try row.next(Int64.self) }
        CatalogNotification.catalog.enqueue(in: transaction)
        return version ?? 0
    }
}
