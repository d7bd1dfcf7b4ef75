import BillingCore
import Catalog
import Identity
import Postgres
import Web

/// Tenants by key and back, read from the catalogue's directory.
enum TenantLookup {
    static func directory(_ pool: PostgresPool) -> TenantDirectory {
        TenantDirectory(
            tenant: { key in
                try await pool.query(
                    .interactive,
                    "SELECT tenant_id FROM subject_directory WHERE subject = \(key) AND is_key ORDER BY subject LIMIT 1"
                ) { row throws(PostgresError) in try row.next(TenantID.self) }.first
            },
            subject: { subject in
                try await pool.query(
                    .admission,
                    "SELECT tenant_id FROM subject_directory WHERE subject = \(subject) ORDER BY subject LIMIT 1"
                ) { row throws(PostgresError) in try row.next(TenantID.self) }.first
            },
            keys: { tenants in
                guard !tenants.isEmpty else { return [:] }
                let rows = try await pool.query(
                    .interactive,
                    """
                    SELECT tenant_id, subject FROM subject_directory
                    WHERE tenant_id = ANY (\(tenants.sorted().map(\.rawValue))) AND is_key
                    ORDER BY tenant_id
                    LIMIT \(tenants.count)
                    """
                ) { row throws(PostgresError) in (try row.next(TenantID.self), try row.next(String.self)) }
                return Dictionary(rows, uniquingKeysWith: { first, _ in first })
            },
            standing: { tenant in
                try await pool.query(
                    .admission,
                    """
                    SELECT subject, coalesce(tenant.status = \(TenantStatus.suspended.rawValue), false)
                    FROM subject_directory LEFT JOIN tenant USING (tenant_id)
                    WHERE tenant_id = \(tenant) AND is_key
                    ORDER BY subject
                    LIMIT 1
                    """
                ) { row throws(PostgresError) in
                    TenantStanding(key: try row.next(), isSuspended: try row.next())
                }.first
            }
        )
    }
}
