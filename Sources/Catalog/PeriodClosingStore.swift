package import BillingCore
package import Postgres

/// A row of `billing_period` as closing sees it.
package struct ClosingPeriod: Sendable {
    package let period: BillingPeriod
    /// Usage came after its invoice was final.
    package let needsAdjustment: Bool
    /// Its invoice was voided, and what it is charged comes with the one in its place.
    package let awaitsReissue: Bool
}

/// All SQL on what is closed of `billing_period`.
package enum PeriodClosingStore {
    /// How long before the end of a period its usage is taken for late, so that clocks that differ a little between
    /// replicas can't let an event slip by.
    private static let slackMicroseconds: Int64 = 3_600 * 1_000_000

    /// The statement that says of periods whose usage changed after their invoice was final that they need an
    /// adjustment. Run it in the transaction that changed the usage, under the ledger lock that decides whether the
    /// change or the invoice came first.
    package static func markLate(_ tenants: [TenantID], _ periods: [BillingPeriodID]) -> SQL {
        """
        UPDATE billing_period AS period
        SET needs_adjustment = true
        FROM unnest(\(tenants)::bigint[], \(periods)::bigint[]) AS changed (tenant_id, billing_period_id)
        WHERE period.tenant_id = changed.tenant_id AND period.billing_period_id = changed.billing_period_id
            AND period.status = 'final' AND NOT period.needs_adjustment
        """
    }

    /// Whether usage of a period may come after its invoice: it ended before, or is about to.
    package static func mayBeClosed(endingAt end: Instant, at now: Instant) -> Bool {
        end <= now.adding(microseconds: slackMicroseconds)
    }

    /// The rows of the periods that are asked for, and of all those of the same subscriptions that need an adjustment;
    /// for a pipeline.
    package static func periods(_ wanted: [(tenant: TenantID, subscription: SubscriptionID, index: Int)]) -> SQL {
        """
        SELECT DISTINCT period.billing_period_id, period.tenant_id, period.subscription_id, period.period_index,
            period.segment, period.starts_at, period.ends_at, period.status, period.needs_adjustment,
            period.status = 'open' AND period.invoiced_seq IS NOT NULL
        FROM unnest(
            \(wanted.map(\.tenant))::bigint[], \(wanted.map(\.subscription))::uuid[],
            \(wanted.map { Int32(clamping: $0.index) })::integer[]
        ) AS wanted (tenant_id, subscription_id, period_index)
        JOIN billing_period AS period
            ON period.tenant_id = wanted.tenant_id AND period.subscription_id = wanted.subscription_id
            AND (
                period.period_index = wanted.period_index
                OR period.period_index IN (
                    SELECT late.period_index
                    FROM billing_period AS late
                    WHERE late.tenant_id = wanted.tenant_id AND late.subscription_id = wanted.subscription_id
                        AND late.needs_adjustment
                )
            )
        ORDER BY period.tenant_id, period.subscription_id, period.period_index, period.segment
        """
    }

    /// Decodes one row of `periods`.
    package static func period(_ row: inout PostgresRow) throws(PostgresError) -> ClosingPeriod {
        ClosingPeriod(
            period: try BillingPeriodStore.period(&row),
            needsAdjustment: try row.next(),
            awaitsReissue: try row.next()
        )
    }

    /// Closes periods, all segments of each: their invoice, or the adjustment, is final as of a ledger sequence.
    package static func close(
        _ closed: [(tenant: TenantID, subscription: SubscriptionID, index: Int, sequence: Int64)]
    ) -> SQL {
        """
        UPDATE billing_period AS period
        SET status = 'final', needs_adjustment = false, invoiced_seq = closed.ledger_seq
        FROM unnest(
            \(closed.map(\.tenant))::bigint[], \(closed.map(\.subscription))::uuid[],
            \(closed.map { Int32(clamping: $0.index) })::integer[], \(closed.map(\.sequence))::bigint[]
        ) AS closed (tenant_id, subscription_id, period_index, ledger_seq)
        WHERE period.tenant_id = closed.tenant_id AND period.subscription_id = closed.subscription_id
            AND period.period_index = closed.period_index
        """
    }

    /// Opens a period again whose invoice was voided.
    package static func reopen(_ tenant: TenantID, _ subscription: SubscriptionID, index: Int) -> SQL {
        """
        UPDATE billing_period
        SET status = 'open', needs_adjustment = false
        WHERE tenant_id = \(tenant) AND subscription_id = \(subscription) AND period_index = \(Int32(clamping: index))
        """
    }

    /// Says of closed periods that what was invoiced for them last stands no more.
    package static func requireAdjustment(
        _ tenant: TenantID,
        _ subscription: SubscriptionID,
        indices: [Int]
    ) -> SQL {
        """
        UPDATE billing_period
        SET needs_adjustment = true
        WHERE tenant_id = \(tenant) AND subscription_id = \(subscription)
            AND period_index = ANY(\(indices.map { Int32(clamping: $0) })::integer[]) AND status = 'final'
        """
    }

    /// Subscriptions, of a part of all tenants, that no regular invoice will follow, with a closed period that needs an
    /// adjustment and was not put off: the last such period of each.
    package static func awaitingAdjustment(now: Instant, _ part: Int, of parts: Int) -> SQL {
        """
        SELECT period.tenant_id, period.subscription_id, max(period.period_index)
        FROM billing_period AS period
        JOIN subscription USING (tenant_id, subscription_id)
        WHERE period.needs_adjustment AND period.status = 'final' AND subscription.closing_done
            AND (subscription.closing_put_off_until IS NULL OR subscription.closing_put_off_until <= \(now))
            AND period.tenant_id % \(Int64(parts)) = \(Int64(part))
        GROUP BY period.tenant_id, period.subscription_id
        """
    }

    package static func awaiting(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> (tenant: TenantID, subscription: SubscriptionID, index: Int) {
        (try row.next(), try row.next(), Int(try row.next(Int32.self)))
    }
}
