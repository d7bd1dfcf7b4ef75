package import BillingCore
package import Postgres

/// The row of `tenant_ledger` that every change of a tenant's usage locks first. All statements lock tenants in
/// ascending order, so two transactions over several tenants cannot deadlock here.
package enum TenantLedger {
    /// A tenant's locked row.
    package struct Entry: Sendable, Hashable {
        package let tenantID: TenantID
        /// The last sequence number given out: an allocation of n owns `ledgerSequence - n + 1 ... ledgerSequence`.
        package let ledgerSequence: Int64
        /// Rises with every change of what `TenantSnapshot` holds, see `CatalogVersion.next`.
        package let catalogVersion: Int64

        package init(tenantID: TenantID, ledgerSequence: Int64, catalogVersion: Int64) {
            self.tenantID = tenantID
            self.ledgerSequence = ledgerSequence
            self.catalogVersion = catalogVersion
        }
    }

    /// Locks the rows of several tenants, making those that are missing, and allocates `count` sequence numbers to
    /// each; 0 only locks. The transaction must read versions and period states in later statements.
    package static func allocate(
        _ counts: [TenantID: Int64],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [TenantID: Entry] {
        guard !counts.isEmpty else { return [:] }
        let entries = try transaction.query(allocation(counts), Self.entry)
        return Dictionary(entries.map { ($0.tenantID, $0) }) { first, _ in first }
    }

    /// The statement of `allocate`, for a caller that sends it in a pipeline; its rows decode with `entry`.
    package static func allocation(_ counts: [TenantID: Int64]) -> SQL {
        let sorted = counts.sorted { $0.key < $1.key }
        return """
            INSERT INTO tenant_ledger (tenant_id, ledger_seq, catalog_version)
            SELECT asked.tenant_id, asked.how_many, 1
            FROM unnest(\(sorted.map(\.key))::bigint[], \(sorted.map(\.value))::bigint[])
                AS asked (tenant_id, how_many)
            ORDER BY asked.tenant_id
            ON CONFLICT (tenant_id) DO UPDATE SET ledger_seq = tenant_ledger.ledger_seq + excluded.ledger_seq
            RETURNING tenant_id, ledger_seq, catalog_version
            """
    }

    /// Decodes one row of `allocation`.
    package static func entry(_ row: inout PostgresRow) throws(PostgresError) -> Entry {
        Entry(tenantID: try row.next(), ledgerSequence: try row.next(), catalogVersion: try row.next())
    }

    /// The last sequence of several tenants, without locking; for a pipeline, decode with `sequence`.
    package static func sequences(of tenants: [TenantID]) -> SQL {
        """
        SELECT tenant_id, ledger_seq
        FROM tenant_ledger
        WHERE tenant_id = ANY(\(tenants)::bigint[])
        ORDER BY tenant_id
        """
    }

    /// Decodes one row of `sequences`.
    package static func sequence(_ row: inout PostgresRow) throws(PostgresError) -> (TenantID, Int64) {
        (try row.next(), try row.next())
    }

    /// Locks one tenant's row.
    package static func lock(
        _ tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Entry? {
        try allocate([tenant: 0], in: transaction)[tenant]
    }

    /// Locks one tenant's row, raises its catalogue version, and tells every replica with the commit.
    @discardableResult
    package static func lockAndBump(
        _ tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Entry? {
        let entry = try transaction.first(
            """
            INSERT INTO tenant_ledger (tenant_id, ledger_seq, catalog_version)
            VALUES (\(tenant), 0, \(CatalogVersion.next(after: "0")))
            ON CONFLICT (tenant_id)
                DO UPDATE SET catalog_version = \(CatalogVersion.next(after: "tenant_ledger.catalog_version"))
            RETURNING tenant_id, ledger_seq, catalog_version
            """,
            Self.entry
        )
        CatalogNotification.tenant(tenant).enqueue(in: transaction)
        return entry
    }

    /// Notes that counters of these tenants have become large. Every replica is told with the commit, where that is
    /// news. Call it under their ledger locks.
    package static func noteLargeCounters(of tenants: Set<TenantID>, in transaction: borrowing Transaction) {
        transaction.enqueue(
            """
            WITH noted AS (
                UPDATE tenant_ledger
                SET has_large_counters = true, catalog_version = \(CatalogVersion.next(after: "catalog_version"))
                WHERE tenant_id = ANY(\(tenants.sorted())::bigint[]) AND NOT has_large_counters
                RETURNING tenant_id
            )
            SELECT pg_notify(\(CatalogNotification.channel), \(CatalogNotification.tenantPrefix) || tenant_id)
            FROM noted
            """
        )
    }

    /// The catalogue versions of several tenants, without locking.
    package static func catalogVersions(
        of tenants: [TenantID],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [TenantID: Int64] {
        let pairs = try transaction.query(versions(of: tenants)) { row throws(PostgresError) in
            (try row.next(TenantID.self), try row.next(Int64.self))
        }
        return Dictionary(pairs) { first, _ in first }
    }

    /// The statement of `catalogVersions`.
    package static func versions(of tenants: [TenantID]) -> SQL {
        """
        SELECT tenant_id, catalog_version
        FROM tenant_ledger
        WHERE tenant_id = ANY(\(tenants)::bigint[])
        ORDER BY tenant_id
        """
    }

    /// The versions of several tenants and of the shared catalogue beside each, without locking, in one statement.
    package static func versionsInForce(of tenants: [TenantID]) -> SQL {
        """
        SELECT tenant_id, catalog_version, (SELECT version FROM catalog_version)
        FROM tenant_ledger
        WHERE tenant_id = ANY(\(tenants)::bigint[])
        ORDER BY tenant_id
        """
    }

    /// Decodes one row of `versionsInForce`.
    package static func versionInForce(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> (tenant: TenantID, version: Int64, shared: Int64) {
        (try row.next(), try row.next(), try row.next())
    }

    /// Fails the transaction where another version is in force of one of several tenants, or of the shared catalogue.
    package static func requireVersions(_ versions: [TenantID: Int64], shared: Int64) -> SQL {
        """
        SELECT refuse_transaction('the catalogue has changed', wanted.tenant_id)
        FROM unnest(\(Array(versions.keys))::bigint[], \(Array(versions.values))::bigint[])
            AS wanted (tenant_id, catalog_version)
        LEFT JOIN tenant_ledger AS ledger ON ledger.tenant_id = wanted.tenant_id
        WHERE ledger.catalog_version IS DISTINCT FROM wanted.catalog_version
            OR (SELECT version FROM catalog_version) IS DISTINCT FROM \(shared)
        """
    }
}
