package import Postgres
import BillingCore

extension Catalog {
    /// Compares what is cached with the database: reads the shared catalogue again if its version differs, and drops
    /// those of up to `limit` cached tenants whose version differs. Returns where to continue; it wraps around.
    package func dropStale(from position: Int, limit: Int, lane: PostgresLane = .worker) async throws -> Int {
        let page = cachedPage(from: position, limit: limit)
        let ids = page.tenants.map(\.id)
        let stored = try await versions(of: ids, lane: lane)
        for tenant in page.tenants where stored.tenants[tenant.id] != tenant.catalogVersion {
            invalidate(tenant: tenant.id)
        }
        if stored.catalog != current.version {
            try await reload(lane: lane)
        }
        return page.next
    }

    private func versions(
        of ids: [TenantID],
        lane: PostgresLane
    ) async throws -> (catalog: Int64, tenants: [TenantID: Int64]) {
        try await pool.transaction(lane, retries: .idempotent(attempts: 3)) { transaction in
            let version = try CatalogVersion.read(in: transaction)
            guard !ids.isEmpty else { return (version, [:]) }
            return (version, try TenantLedger.catalogVersions(of: ids, in: transaction))
        }
    }
}
