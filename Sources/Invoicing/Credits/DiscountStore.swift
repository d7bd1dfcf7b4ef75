import BillingCore
import Catalog
import Postgres
import Web

/// All SQL on `discount`.
enum DiscountStore {
    /// What applies to the next invoices of tenants, in the order of creation; for a pipeline, decode with `discount`.
    static func usable(by tenants: [TenantID]) -> SQL {
        """
        \(selection)
        WHERE tenant_id = ANY(\(tenants)::bigint[]) AND ended_at IS NULL
        ORDER BY tenant_id, created_at, discount_id
        """
    }

    static func find(
        _ id: DiscountID,
        tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> DiscountRecord? {
        try transaction.first("\(selection) WHERE tenant_id = \(tenant) AND discount_id = \(id)", Self.discount)
    }

    /// By ascending id, which is the order of creation.
    static func list(
        tenant: TenantID,
        status: DiscountStatus?,
        after id: DiscountID?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [DiscountRecord] {
        try transaction.query(page(tenant: tenant, status: status, after: id, limit: limit), Self.discount)
    }

    static func page(tenant: TenantID, status: DiscountStatus?, after id: DiscountID?, limit: Int) -> SQL {
        """
        \(selection)
        WHERE tenant_id = \(tenant) AND discount_id > \(id ?? DiscountID(rawValue: .zero))
            AND (\(status)::text IS NULL OR \(status) = CASE WHEN ended_at IS NULL THEN 'active' ELSE 'ended' END)
        ORDER BY discount_id
        LIMIT \(limit)
        """
    }

    static func activeCount(
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Int64 {
        try transaction.first(
            "SELECT count(*) FROM discount WHERE tenant_id = \(tenant) AND ended_at IS NULL"
        ) { row throws(PostgresError) in try row.next(Int64.self) } ?? 0
    }

    static func insert(_ discount: DiscountRecord, in transaction: borrowing Transaction) throws(PostgresError) {
        let (percent, amount): (FixedDecimal?, FixedDecimal?) =
            switch discount.value {
            case .percent(let percent): (percent, nil)
            case .amount(let amount): (nil, amount)
            }
        try transaction.execute(
            """
            INSERT INTO discount (
                tenant_id, discount_id, name, percent, amount, duration, repeats, uses, created_at, updated_at, revision
            )
            VALUES (
                \(discount.tenantID), \(discount.id), \(discount.name), \(percent), \(amount), \(discount.duration),
                \(discount.repeats.map { Int32(clamping: $0) }), 0, \(discount.createdAt), \(discount.createdAt), 1
            )
            """
        )
    }

    /// Counts one more use of each; one that has been used as often as it may ends.
    static func use(_ discounts: [(tenant: TenantID, id: DiscountID)], at now: Instant) -> SQL {
        """
        UPDATE discount
        SET uses = discount.uses + 1, updated_at = \(now), revision = discount.revision + 1,
            ended_at = CASE WHEN discount.uses + 1 >= discount.repeats THEN \(now)::timestamptz END
        FROM unnest(\(discounts.map(\.tenant))::bigint[], \(discounts.map(\.id))::uuid[]) AS used (tenant_id,
        discount_id)
        WHERE discount.tenant_id = used.tenant_id AND discount.discount_id = used.discount_id
        """
    }

    /// Takes a use back, of each that a voided invoice had: one that had ended by its uses goes on.
    static func unuse(_ ids: [DiscountID], tenant: TenantID, at now: Instant) -> SQL {
        """
        UPDATE discount
        SET uses = uses - 1, updated_at = \(now), revision = revision + 1,
            ended_at = CASE WHEN uses = repeats THEN NULL ELSE ended_at END
        WHERE tenant_id = \(tenant) AND discount_id = ANY(\(ids)::uuid[]) AND uses > 0
        """
    }

    static func end(_ discount: DiscountRecord, at now: Instant, in transaction: borrowing Transaction)
        throws(PostgresError)
    {
        try transaction.execute(
            """
            UPDATE discount
            SET ended_at = \(now), updated_at = \(now), revision = revision + 1
            WHERE tenant_id = \(discount.tenantID) AND discount_id = \(discount.id)
            """
        )
    }

    private static let selection: SQL = """
        SELECT discount_id, tenant_id, name, percent, amount, duration, repeats, uses, created_at, ended_at, updated_at,
            revision
        FROM discount
        """

    static func discount(_ row: inout PostgresRow) throws(PostgresError) -> DiscountRecord {
        let id = try row.next(DiscountID.self)
        let tenant = try row.next(TenantID.self)
        let name = try row.next(String.self)
        let percent = try row.next(FixedDecimal?.self)
        let amount = try row.next(FixedDecimal?.self)
        return DiscountRecord(
            id: id,
            tenantID: tenant,
            name: name,
            value: percent.map { .percent($0) } ?? .amount(amount ?? .zero),
            duration: try row.next(),
            repeats: try row.next(Int32?.self).map { Int($0) },
            uses: Int(try row.next(Int32.self)),
            createdAt: try row.next(),
            endedAt: try row.next(),
            updatedAt: try row.next(),
            revision: try row.next()
        )
    }
}
