package import BillingCore
package import Postgres
import Web

/// All SQL on `tenant`.
package enum TenantStore {
    static func nextID(in transaction: borrowing Transaction) throws(PostgresError) -> TenantID {
        try transaction.identifier("SELECT nextval('tenant_id_seq')")
    }

    static func insert(_ tenant: Tenant, in transaction: borrowing Transaction) throws(PostgresError) {
        try transaction.execute(
            """
            INSERT INTO tenant (
                tenant_id, key, name, currency, timezone, cost_center, billing_email, metadata, billing, status,
                created_at, updated_at, revision
            )
            VALUES (
                \(tenant.id), \(tenant.key), \(tenant.name), \(tenant.currency), \(tenant.zone),
                \(tenant.costCenter), \(tenant.billingEmail), \(PostgresJSON(text: tenant.metadata)),
                \(tenant.billing), \(tenant.status), \(tenant.createdAt), \(tenant.updatedAt), \(tenant.revision)
            )
            """
        )
    }

    /// Writes what may change of a tenant.
    static func update(_ tenant: Tenant, in transaction: borrowing Transaction) throws(PostgresError) {
        try transaction.execute(
            """
            UPDATE tenant
            SET name = \(tenant.name), timezone = \(tenant.zone), cost_center = \(tenant.costCenter),
                billing_email = \(tenant.billingEmail), metadata = \(PostgresJSON(text: tenant.metadata)),
                billing = \(tenant.billing), status = \(tenant.status), updated_at = \(tenant.updatedAt),
                revision = \(tenant.revision)
            WHERE tenant_id = \(tenant.id)
            """
        )
    }

    /// Whether a tenant's metadata says this already, in whatever order and spelling.
    static func hasMetadata(
        _ text: String,
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Bool {
        try transaction.first(
            "SELECT metadata = \(PostgresJSON(text: text)) FROM tenant WHERE tenant_id = \(tenant)"
        ) { row throws(PostgresError) in try row.next(Bool.self) } ?? false
    }

    /// The tenant with a key.
    static func find(key: String, in transaction: borrowing Transaction) throws(PostgresError) -> Tenant? {
        try transaction.first(
            """
            \(selection)
            WHERE directory.subject = \(key) AND directory.is_key
            """,
            Self.tenant
        )
    }

    /// Tenants by ascending key, of one status if one is given, and one tenant only where the caller is bound to it.
    static func list(
        boundTo tenant: TenantID?,
        status: TenantStatus?,
        after key: String?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [Tenant] {
        try transaction.query(
            """
            \(selection)
            WHERE directory.is_key AND directory.subject > \(key ?? "")
                AND (\(tenant)::bigint IS NULL OR directory.tenant_id = \(tenant))
                AND (\(status)::text IS NULL OR tenant.status = \(status))
            ORDER BY directory.subject
            LIMIT \(limit)
            """,
            Self.tenant
        )
    }

    /// The keys of tenants by their ids.
    package static func keys(
        of ids: [TenantID],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [TenantID: String] {
        let pairs = try transaction.query(
            "SELECT tenant_id, key FROM tenant WHERE tenant_id = ANY(\(ids)::bigint[]) ORDER BY tenant_id"
        ) { row throws(PostgresError) in (try row.next(TenantID.self), try row.next(String.self)) }
        return Dictionary(pairs) { first, _ in first }
    }

    private static let selection: SQL = """
        SELECT tenant.tenant_id, tenant.key, tenant.name, tenant.currency, tenant.timezone, tenant.cost_center,
            tenant.billing_email, tenant.metadata, tenant.billing, tenant.status, tenant.created_at,
            tenant.updated_at, tenant.revision,
            ARRAY(
                SELECT own.subject
                FROM subject_directory AS own
                WHERE own.tenant_id = tenant.tenant_id AND NOT own.is_key
                ORDER BY own.subject
            )
        FROM subject_directory AS directory
        JOIN tenant ON tenant.tenant_id = directory.tenant_id
        """

    private static func tenant(_ row: inout PostgresRow) throws(PostgresError) -> Tenant {
        let id = try row.next(TenantID.self)
        let key = try row.next(String.self)
        let name = try row.next(String.self)
        let currency = try row.next(Currency.self)
        let zone = try row.next(Zone.self)
        let costCenter = try row.next(String?.self)
        let billingEmail = try row.next(String?.self)
        let metadata = try row.next(PostgresJSON.self).text
        let billing = try row.next(TenantBilling.self)
        let status = try row.next(TenantStatus.self)
        let createdAt = try row.next(Instant.self)
        let updatedAt = try row.next(Instant.self)
        let revision = try row.next(Int64.self)
        return Tenant(
            id: id,
            key: key,
            name: name,
            currency: currency,
            zone: zone,
            subjects: try row.next(),
            costCenter: costCenter,
            billingEmail: billingEmail,
            metadata: metadata,
            billing: billing,
            status: status,
            createdAt: createdAt,
            updatedAt: updatedAt,
            revision: revision
        )
    }
}

extension Transaction {
    /// A fresh id from a sequence.
    borrowing func identifier<ID: IntegerIdentifier & PostgresDecodable>(
        _ statement: SQL
    ) throws(PostgresError) -> ID {
        let id = try first(statement) { row throws(PostgresError) in try row.next(ID.self) }
        guard let id else { throw PostgresError(.decoding, "a sequence gave no value") }
        return id
    }
}
