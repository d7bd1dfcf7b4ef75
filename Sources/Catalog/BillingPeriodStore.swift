package import BillingCore
package import Postgres

/// All SQL on `billing_period`.
package enum BillingPeriodStore {
    /// Makes the rows that are missing and returns all that were asked for, whoever made them. Call it under the
    /// tenants' ledger locks; rows are made in ascending order.
    package static func ensure(
        _ wanted: [BillingPeriod.Wanted],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [BillingPeriod] {
        guard !wanted.isEmpty else { return [] }
        let results = try transaction.pipeline([insertion(wanted), reading(wanted)])
        guard let last = results.last else { return [] }
        return try last.map(Self.period)
    }

    /// Reads those of the wanted rows that exist, with their status as of now.
    package static func read(
        _ wanted: [BillingPeriod.Wanted],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [BillingPeriod] {
        guard !wanted.isEmpty else { return [] }
        return try transaction.query(reading(wanted), Self.period)
    }

    /// Whether a tenant's period of such a start is one of the subscription that it has at a time: a period of before,
    /// of a subscription that was ended, is over, whenever it should have ended.
    /// - Parameters:
    ///   - tenant: a column.
    ///   - start: a column.
    package static func isOfPresentSubscription(tenant: SQL, start: SQL, at now: Instant) -> SQL {
        """
        EXISTS (
            SELECT FROM subscription JOIN billing_period AS period USING (tenant_id, subscription_id)
            WHERE subscription.tenant_id = \(tenant) AND subscription.starts_at <= \(now)
                AND (subscription.ends_at IS NULL OR subscription.ends_at > \(now)) AND period.starts_at = \(start)
        )
        """
    }

    /// Every period of a tenant that has a row.
    package static func all(
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [BillingPeriod] {
        try transaction.query(
            """
            SELECT \(columns)
            FROM billing_period AS period
            WHERE tenant_id = \(tenant)
            ORDER BY starts_at, segment
            """,
            Self.period
        )
    }

    /// Every segment that has a row, of the periods of which these rows are segments.
    package static func segments(
        ofPeriodsWith rows: [BillingPeriodID: TenantID],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [BillingPeriod] {
        guard !rows.isEmpty else { return [] }
        return try transaction.query(
            """
            SELECT DISTINCT \(columns)
            FROM unnest(\(Array(rows.values))::bigint[], \(Array(rows.keys))::bigint[])
                AS wanted (tenant_id, billing_period_id)
            JOIN billing_period AS named USING (tenant_id, billing_period_id)
            JOIN billing_period AS period
                ON period.tenant_id = named.tenant_id AND period.subscription_id = named.subscription_id
                AND period.period_index = named.period_index
            """,
            Self.period
        )
    }

    /// The statement that makes missing rows, for a pipeline.
    package static func insertion(_ wanted: [BillingPeriod.Wanted]) -> SQL {
        let rows = wanted.sorted {
            ($0.tenantID, $0.subscriptionID, $0.index, $0.segment)
                < ($1.tenantID, $1.subscriptionID, $1.index, $1.segment)
        }
        return """
            INSERT INTO billing_period (
                tenant_id, billing_period_id, subscription_id, period_index, segment, starts_at, ends_at, status
            )
            SELECT wanted.tenant_id, nextval('billing_period_id_seq'), wanted.subscription_id, wanted.period_index,
                wanted.segment, wanted.starts_at, wanted.ends_at, 'open'
            FROM unnest(
                \(rows.map(\.tenantID))::bigint[], \(rows.map(\.subscriptionID))::uuid[],
                \(rows.map { Int32(clamping: $0.index) })::integer[],
                \(rows.map { Int32(clamping: $0.segment) })::integer[],
                \(rows.map(\.interval.start))::timestamptz[], \(rows.map(\.interval.end))::timestamptz[]
            ) AS wanted (tenant_id, subscription_id, period_index, segment, starts_at, ends_at)
            ORDER BY wanted.tenant_id, wanted.subscription_id, wanted.period_index, wanted.segment
            ON CONFLICT ON CONSTRAINT billing_period_unique DO NOTHING
            """
    }

    /// The statement that reads the wanted rows, for a pipeline; its rows decode with `period`.
    package static func reading(_ wanted: [BillingPeriod.Wanted]) -> SQL {
        """
        SELECT \(columns)
        FROM unnest(
            \(wanted.map(\.tenantID))::bigint[], \(wanted.map(\.subscriptionID))::uuid[],
            \(wanted.map { Int32(clamping: $0.index) })::integer[],
            \(wanted.map { Int32(clamping: $0.segment) })::integer[]
        ) AS wanted (tenant_id, subscription_id, period_index, segment)
        JOIN billing_period AS period USING (tenant_id, subscription_id, period_index, segment)
        ORDER BY period.tenant_id, period.subscription_id, period.period_index, period.segment
        """
    }

    /// What `period` decodes, of the row `period`.
    static let columns: SQL = """
        period.billing_period_id, period.tenant_id, period.subscription_id, period.period_index, period.segment,
            period.starts_at, period.ends_at, period.status
        """

    /// Decodes `columns`.
    package static func period(_ row: inout PostgresRow) throws(PostgresError) -> BillingPeriod {
        let id = try row.next(BillingPeriodID.self)
        let tenant = try row.next(TenantID.self)
        let subscription = try row.next(SubscriptionID.self)
        let index = Int(try row.next(Int32.self))
        let segment = Int(try row.next(Int32.self))
        let interval = Interval(start: try row.next(), end: try row.next())
        return BillingPeriod(
            id: id,
            tenantID: tenant,
            subscriptionID: subscription,
            index: index,
            segment: segment,
            interval: interval,
            status: try row.next()
        )
    }
}
