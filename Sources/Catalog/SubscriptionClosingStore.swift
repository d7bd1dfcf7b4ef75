package import BillingCore
package import Postgres

/// Which invoice of a subscription is to be drafted next.
package struct SubscriptionClosing: Sendable {
    package let tenantID: TenantID
    package let subscriptionID: SubscriptionID
    /// -1 for the opening invoice, n for the regular one of period n.
    package let index: Int
    /// No invoice follows of itself: only adjustments may.
    package let isDone: Bool

    /// The index of the opening invoice.
    package static let openingIndex = -1

    package init(tenantID: TenantID, subscriptionID: SubscriptionID, index: Int, isDone: Bool) {
        self.tenantID = tenantID
        self.subscriptionID = subscriptionID
        self.index = index
        self.isDone = isDone
    }
}

/// All SQL on the columns of `subscription` that say what is to be invoiced next.
package enum SubscriptionClosingStore {
    /// Tenants, of a part of all, with subscriptions of which an invoice should have been drafted by now: those that
    /// wait longest first.
    /// - Parameters:
    ///   - time: what counts as the present for what is due.
    ///   - now: the present, for what was put off.
    package static func tenantsDue(at time: Instant, now: Instant, _ part: Int, of parts: Int, limit: Int) -> SQL {
        """
        SELECT tenant_id
        FROM subscription
        WHERE \(isDue(at: time, now: now)) AND tenant_id % \(Int64(parts)) = \(Int64(part))
        ORDER BY LEAST(COALESCE(closing_due_at, anchor), ends_at), tenant_id, subscription_id
        LIMIT \(limit)
        """
    }

    package static func countDue(at time: Instant, now: Instant) -> SQL {
        """
        SELECT count(*)
        FROM subscription
        WHERE \(isDue(at: time, now: now))
        """
    }

    /// How many subscriptions closing passes over now, and when the first of them is tried again.
    package static func countPutOff(at now: Instant) -> SQL {
        """
        SELECT count(*), min(closing_put_off_until)
        FROM subscription
        WHERE closing_put_off_until > \(now)
        """
    }

    private static func isDue(at time: Instant, now: Instant) -> SQL {
        """
        NOT closing_done AND LEAST(COALESCE(closing_due_at, anchor), ends_at) <= \(time)
            AND (closing_put_off_until IS NULL OR closing_put_off_until <= \(now))
        """
    }

    /// What is due of some tenants. Read it under their ledger locks.
    package static func due(
        of tenants: [TenantID],
        at time: Instant,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [SubscriptionClosing] {
        try transaction.query(
            """
            SELECT tenant_id, subscription_id, closing_index, closing_done
            FROM subscription
            WHERE tenant_id = ANY(\(tenants)::bigint[]) AND \(isDue(at: time, now: now))
            ORDER BY tenant_id, subscription_id
            """,
            Self.closing
        )
    }

    /// What is to be drafted next of some subscriptions, for a pipeline; decode with `closing`.
    package static func closings(of tenants: [TenantID], _ subscriptions: [SubscriptionID]) -> SQL {
        """
        SELECT subscription.tenant_id, subscription.subscription_id, subscription.closing_index,
            subscription.closing_done
        FROM unnest(\(tenants)::bigint[], \(subscriptions)::uuid[]) AS wanted (tenant_id, subscription_id)
        JOIN subscription USING (tenant_id, subscription_id)
        ORDER BY subscription.tenant_id, subscription.subscription_id
        """
    }

    package static func closing(_ row: inout PostgresRow) throws(PostgresError) -> SubscriptionClosing {
        SubscriptionClosing(
            tenantID: try row.next(),
            subscriptionID: try row.next(),
            index: Int(try row.next(Int32.self)),
            isDone: try row.next()
        )
    }

    /// Notes what is next, and when, of several subscriptions.
    package static func advance(_ next: [(closing: SubscriptionClosing, dueAt: Instant)]) -> SQL {
        """
        UPDATE subscription
        SET closing_index = next.closing_index, closing_due_at = next.due_at, closing_done = next.done,
            closing_put_off_until = NULL
        FROM unnest(
            \(next.map(\.closing.tenantID))::bigint[], \(next.map(\.closing.subscriptionID))::uuid[],
            \(next.map { Int32(clamping: $0.closing.index) })::integer[], \(next.map(\.dueAt))::timestamptz[],
            \(next.map(\.closing.isDone))::boolean[]
        ) AS next (tenant_id, subscription_id, closing_index, due_at, done)
        WHERE subscription.tenant_id = next.tenant_id AND subscription.subscription_id = next.subscription_id
        """
    }

    /// Lets closing pass over subscriptions of a tenant until then: what is due of them can't be drafted.
    package static func putOff(_ subscriptions: [SubscriptionID], of tenant: TenantID, until later: Instant) -> SQL {
        """
        UPDATE subscription
        SET closing_put_off_until = \(later)
        WHERE tenant_id = \(tenant) AND subscription_id = ANY(\(subscriptions)::uuid[])
        """
    }
}
