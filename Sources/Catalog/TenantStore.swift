import BillingCore
import Postgres
import Web

/// All SQL on `tenant`.
enum TenantStore {
    /// Inserts the tenant under a fresh id.
    static func insert(_ tenant: Tenant, in transaction: borrowing Transaction) throws(PostgresError) {
        try transaction.execute(
            """
            INSERT INTO tenant (
                tenant_id, key, name, currency, timezone, cost_center, billing_email, metadata, status, created_at,
                updated_at, revision
            )
            VALUES (
                \(tenant.id), \(tenant.key), \(tenant.name), \(tenant.currency.code), \(tenant.zone.identifier),
                \(tenant.costCenter), \(tenant.billingEmail), \(PostgresJSON(text: tenant.metadata)),
                \(tenant.status.rawValue), \(tenant.createdAt), \(tenant.updatedAt), \(tenant.revision)
            )
            """
        )
    }

    static func nextID(in transaction: borrowing Transaction) throws(PostgresError) -> TenantID? {
        try transaction.first("SELECT nextval('tenant_id_seq')") { row throws(PostgresError) in try row.next() }
    }

    /// Writes what may change of a tenant.
    static func update(_ tenant: Tenant, in transaction: borrowing Transaction) throws(PostgresError) {
        try transaction.execute(
            """
            UPDATE tenant
            SET name = \(tenant.name), timezone = \(tenant.zone.identifier), cost_center = \(tenant.costCenter),
                billing_email = \(tenant.billingEmail), metadata = \(PostgresJSON(text: tenant.metadata)),
                status = \(tenant.status.rawValue), updated_at = \(tenant.updatedAt), revision = \(tenant.revision)
            WHERE tenant_id = \(tenant.id)
            """
        )
    }

    /// The tenant with a key.
    static func find(key: String, in transaction: borrowing Transaction) throws -> Tenant? {
        try transaction.first(
            """
            SELECT tenant.tenant_id, tenant.key, tenant.name, tenant.currency, tenant.timezone, tenant.cost_center,
                tenant.billing_email, tenant.metadata, tenant.status, tenant.created_at, tenant.updated_at,
                tenant.revision, \(subjects)
            FROM subject_directory AS directory
            JOIN tenant ON tenant.tenant_id = directory.tenant_id
            WHERE directory.subject = \(key) AND directory.is_key
            """,
            TenantRecord.init(row:)
        )?.tenant()
    }

    /// Tenants by ascending key, one tenant only where the caller is bound to it.
    static func list(
        boundTo tenant: TenantID?,
        after key: String?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws -> [Tenant] {
        try transaction.query(
            """
            SELECT tenant.tenant_id, tenant.key, tenant.name, tenant.currency, tenant.timezone, tenant.cost_center,
                tenant.billing_email, tenant.metadata, tenant.status, tenant.created_at, tenant.updated_at,
                tenant.revision, \(subjects)
            FROM subject_directory AS directory
            JOIN tenant ON tenant.tenant_id = directory.tenant_id
            WHERE directory.is_key AND directory.subject > \(key ?? "")
                AND (\(tenant)::bigint IS NULL OR directory.tenant_id = \(tenant))
            ORDER BY directory.subject
            LIMIT \(limit)
            """,
            TenantRecord.init(row:)
        ).map { try $0.tenant() }
    }

    private static let subjects: SQL = """
        ARRAY(
            SELECT own.subject
            FROM subject_directory AS own
            WHERE own.tenant_id = tenant.tenant_id AND NOT own.is_key
            ORDER BY own.subject
        )
        """
}

private struct TenantRecord {
    let id: TenantID
    let key: String
    let name: String
    let currency: String
    let timezone: String
    let costCenter: String?
    let billingEmail: String?
    let metadata: PostgresJSON
    let status: String
    let createdAt: Instant
    let updatedAt: Instant
    let revision: Int64
    let subjects: [String]

    init(row: inout PostgresRow) throws(PostgresError) {
        id = try row.next()
        key = try row.next()
        name = try row.next()
        currency = try row.next()
        timezone = try row.next()
        costCenter = try row.next()
        billingEmail = try row.next()
        metadata = try row.next()
        status = try row.next()
        createdAt = try row.next()
        updatedAt = try row.next()
        revision = try row.next()
        subjects = try row.next()
    }

    func tenant() throws -> Tenant {
        guard let currency = Currency(currency), let zone = Zone(identifier: timezone),
            let status = TenantStatus(rawValue: status)
        else {
            throw CatalogFault.unreadable(table: "tenant", key: key)
        }
        return Tenant(
            id: id,
            key: key,
            name: name,
            currency: currency,
            zone: zone,
            subjects: subjects,
            costCenter: costCenter,
            billingEmail: billingEmail,
            metadata: metadata.text,
            status: status,
            createdAt: createdAt,
            updatedAt: updatedAt,
            revision: revision
        )
    }
}
