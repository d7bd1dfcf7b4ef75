import BillingCore
import Catalog
import Postgres
import Web

/// All SQL on `credit_grant` and `credit_application`. Whoever changes them holds the tenant's ledger lock.
enum CreditGrantStore {
    /// What tenants may use at an instant, for a pipeline; decode with `grant`.
    static func usable(by tenants: [TenantID], at now: Instant) -> SQL {
        """
        \(selection)
        WHERE tenant_id = ANY(\(tenants)::bigint[]) AND voided_at IS NULL AND remaining > 0
            AND (expires_at IS NULL OR expires_at > \(now))
        ORDER BY tenant_id, priority, expires_at, created_at, credit_grant_id
        """
    }

    static func find(
        _ id: CreditGrantID,
        tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> CreditGrant? {
        try transaction.first(
            "\(selection) WHERE tenant_id = \(tenant) AND credit_grant_id = \(id)",
            Self.grant
        )
    }

    /// What a list is narrowed to.
    struct Filter: Sendable {
        let kind: AvailableCredit.Kind?
        let status: CreditGrantStatus?
        /// The present, by which a credit is expired.
        let now: Instant
    }

    /// By ascending id, which is the order of creation.
    static func list(
        tenant: TenantID,
        _ filter: Filter,
        after id: CreditGrantID?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [CreditGrant] {
        try transaction.query(page(tenant: tenant, filter, after: id, limit: limit), Self.grant)
    }

    static func page(tenant: TenantID, _ filter: Filter, after id: CreditGrantID?, limit: Int) -> SQL {
        """
        \(selection)
        WHERE tenant_id = \(tenant) AND credit_grant_id > \(id ?? CreditGrantID(rawValue: .zero))
            AND (\(filter.kind)::text IS NULL OR kind = \(filter.kind))
            AND (\(filter.status)::text IS NULL OR \(filter.status) = CASE
                WHEN voided_at IS NOT NULL THEN 'void'
                WHEN remaining = 0 THEN 'used'
                WHEN expires_at <= \(filter.now) THEN 'expired'
                ELSE 'active'
            END)
        ORDER BY credit_grant_id
        LIMIT \(limit)
        """
    }

    static func usableCount(
        of tenant: TenantID,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Int64 {
        try transaction.first(
            """
            SELECT count(*)
            FROM credit_grant
            WHERE tenant_id = \(tenant) AND voided_at IS NULL AND remaining > 0
                AND (expires_at IS NULL OR expires_at > \(now))
            """
        ) { row throws(PostgresError) in try row.next(Int64.self) } ?? 0
    }

    /// What an invoice below zero or a credit note made.
    static func made(
        by origin: UUIDv7,
        tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> CreditGrant? {
        try transaction.first("\(selection) WHERE tenant_id = \(tenant) AND origin_id = \(origin)", Self.grant)
    }

    static func insertion(_ grants: [CreditGrant]) -> SQL {
        """
        INSERT INTO credit_grant (
            tenant_id, credit_grant_id, kind, name, currency, amount, remaining, priority, expires_at, origin,
            origin_id, created_at, updated_at, revision
        )
        SELECT tenant_id, credit_grant_id, kind, name, currency, amount, amount, priority, expires_at, origin,
        origin_id,
            created_at, created_at, 1
        FROM unnest(
            \(grants.map(\.tenantID))::bigint[], \(grants.map(\.id))::uuid[], \(grants.map(\.kind))::text[],
            \(grants.map(\.name))::text[], \(grants.map(\.currency))::text[], \(grants.map(\.amount))::numeric[],
            \(grants.map { Int32(clamping: $0.priority) })::integer[], \(grants.map(\.expiresAt))::timestamptz[],
            \(grants.map(\.origin))::text[], \(grants.map(\.originID))::uuid[],
            \(grants.map(\.createdAt))::timestamptz[]
        ) AS granted (
            tenant_id, credit_grant_id, kind, name, currency, amount, priority, expires_at, origin, origin_id,
            created_at
        )
        """
    }

    /// Takes what invoices use. A credit that does not have so much left is a violation of `credit_grant_remaining`.
    static func take(_ uses: [Use], at now: Instant) -> SQL {
        """
        UPDATE credit_grant
        SET remaining = credit_grant.remaining - used.amount, updated_at = \(now),
            revision = credit_grant.revision + 1
        FROM (
            SELECT tenant_id, credit_grant_id, sum(amount) AS amount
            FROM unnest(
                \(uses.map(\.tenant))::bigint[], \(uses.map(\.grant))::uuid[], \(uses.map(\.amount))::numeric[]
            ) AS use (tenant_id, credit_grant_id, amount)
            GROUP BY tenant_id, credit_grant_id
        ) AS used
        WHERE credit_grant.tenant_id = used.tenant_id AND credit_grant.credit_grant_id = used.credit_grant_id
        """
    }

    static func application(_ uses: [Use], at now: Instant) -> SQL {
        """
        INSERT INTO credit_application (tenant_id, invoice_id, credit_grant_id, amount, created_at)
        SELECT tenant_id, invoice_id, credit_grant_id, amount, \(now)
        FROM unnest(
            \(uses.map(\.tenant))::bigint[], \(uses.map(\.invoice))::uuid[], \(uses.map(\.grant))::uuid[],
            \(uses.map(\.amount))::numeric[]
        ) AS use (tenant_id, invoice_id, credit_grant_id, amount)
        """
    }

    /// Gives back what a voided invoice used.
    static func giveBack(
        _ invoice: InvoiceID,
        tenant: TenantID,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        try transaction.execute(
            """
            UPDATE credit_grant
            SET remaining = credit_grant.remaining + use.amount, updated_at = \(now),
                revision = credit_grant.revision + 1
            FROM credit_application AS use
            WHERE use.tenant_id = \(tenant) AND use.invoice_id = \(invoice) AND use.returned_at IS NULL
                AND credit_grant.tenant_id = use.tenant_id AND credit_grant.credit_grant_id = use.credit_grant_id
            """
        )
        try transaction.execute(
            """
            UPDATE credit_application
            SET returned_at = \(now)
            WHERE tenant_id = \(tenant) AND invoice_id = \(invoice) AND returned_at IS NULL
            """
        )
    }

    static func void(_ grant: CreditGrant, at now: Instant, in transaction: borrowing Transaction) throws(PostgresError)
    {
        try transaction.execute(
            """
            UPDATE credit_grant
            SET voided_at = \(now), updated_at = \(now), revision = revision + 1
            WHERE tenant_id = \(grant.tenantID) AND credit_grant_id = \(grant.id)
            """
        )
    }

    /// What an invoice uses of a credit.
    struct Use: Sendable {
        let tenant: TenantID
        let invoice: InvoiceID
        let grant: CreditGrantID
        let amount: FixedDecimal
    }

    private static let selection: SQL = """
        SELECT credit_grant_id, tenant_id, kind, name, currency, amount, remaining, priority, expires_at, origin,
            origin_id, created_at, voided_at, updated_at, revision
        FROM credit_grant
        """

    static func grant(_ row: inout PostgresRow) throws(PostgresError) -> CreditGrant {
        CreditGrant(
            id: try row.next(),
            tenantID: try row.next(),
            kind: try row.next(),
            name: try row.next(),
            currency: try row.next(),
            amount: try row.next(),
            remaining: try row.next(),
            priority: Int(try row.next(Int32.self)),
            expiresAt: try row.next(),
            origin: try row.next(),
            originID: try row.next(),
            createdAt: try row.next(),
            voidedAt: try row.next(),
            updatedAt: try row.next(),
            revision: try row.next()
        )
    }
}
