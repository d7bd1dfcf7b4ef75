package import BillingCore
package import Postgres

/// Reads tenants for the read model: one pipeline for any number of them, and one statement more where a plan
/// version is not known yet.
package enum TenantSnapshotStore {
    /// How far back billing periods are read with a tenant: events may be 35 days old.
    private static let periodHorizonMicroseconds: Int64 = 40 * 86_400 * 1_000_000

    /// The tenants that exist among `ids`, by ascending id. The ledger's version is read no later than everything
    /// else, so a change in between makes the snapshot look older than it is, never newer.
    package static func read(
        _ ids: [TenantID],
        plans known: [PlanVersionID: PlanVersion],
        now: Instant,
        in transaction: borrowing Transaction
    ) throws -> [TenantSnapshot] {
        guard !ids.isEmpty else { return [] }
        let horizon = now.adding(microseconds: -periodHorizonMicroseconds)
        let results = try transaction.pipeline([
            tenants(ids), subscriptions(ids), SubscriptionSegmentStore.segments(ofTenants: ids),
            periods(ids, endingAfter: horizon), limits(ids), BudgetStore.ofTenants(ids),
            SpendCapStore.ofTenants(ids),
        ])
        guard results.count == 7 else { throw CatalogFault.unreadable(table: "tenant", key: "") }
        let segments = try results[2].map(SubscriptionSegmentStore.segment)
        let plans = try SegmentPlans(of: segments, known: known, in: transaction)
        var assembly = TenantAssembly(now: now, plans: plans)
        assembly.subscriptions = Dictionary(grouping: try results[1].map(SubscriptionRow.init(row:)), by: \.tenantID)
        assembly.segments = Dictionary(grouping: segments, by: \.subscriptionID)
        assembly.periods = Dictionary(grouping: try results[3].map(BillingPeriodStore.period), by: \.subscriptionID)
        assembly.limits = Dictionary(grouping: try results[4].map(UsageLimitStore.owned), by: \.tenantID)
        assembly.budgets = Dictionary(grouping: try results[5].map(BudgetStore.budget), by: \.tenantID)
        let caps = try results[6].map(SpendCapStore.owned)
        assembly.spendCaps = Dictionary(caps.map { ($0.tenant, $0.cap) }) { first, _ in first }
        var snapshots: [TenantSnapshot] = []
        for row in try results[0].map(TenantRow.init(row:)) {
            snapshots.append(try assembly.snapshot(row))
        }
        return snapshots
    }

    static func tenants(_ ids: [TenantID]) -> SQL {
        """
        SELECT tenant.tenant_id, ledger.catalog_version, ledger.has_large_counters, tenant.key, tenant.name,
            tenant.currency, tenant.timezone, tenant.status, tenant.cost_center
        FROM tenant
        JOIN tenant_ledger AS ledger ON ledger.tenant_id = tenant.tenant_id
        WHERE tenant.tenant_id = ANY(\(ids)::bigint[])
        ORDER BY tenant.tenant_id
        """
    }

    static func subscriptions(_ ids: [TenantID]) -> SQL {
        """
        SELECT tenant_id, subscription_id, timezone, anchor, starts_at, ends_at
        FROM subscription
        WHERE tenant_id = ANY(\(ids)::bigint[])
        ORDER BY tenant_id, starts_at
        """
    }

    static func periods(_ ids: [TenantID], endingAfter horizon: Instant) -> SQL {
        """
        SELECT \(BillingPeriodStore.columns)
        FROM billing_period AS period
        WHERE tenant_id = ANY(\(ids)::bigint[]) AND ends_at > \(horizon)
        ORDER BY tenant_id, subscription_id, period_index, segment
        """
    }

    static func limits(_ ids: [TenantID]) -> SQL {
        """
        SELECT tenant_id, limit_id, feature_id, window_kind, amount, mode, overage, revision, active, counted_from
        FROM usage_limit
        WHERE tenant_id = ANY(\(ids)::bigint[])
        ORDER BY tenant_id, limit_id
        """
    }
}

private struct TenantRow {
    let id: TenantID
    let catalogVersion: Int64
    let hasLargeCounters: Bool
    let key: String
    let name: String
    let currency: Currency
    let timezone: String
    let status: TenantStatus
    let costCenter: String?

    init(row: inout PostgresRow) throws(PostgresError) {
        id = try row.next()
        catalogVersion = try row.next()
        hasLargeCounters = try row.next()
        key = try row.next()
        name = try row.next()
        currency = try row.next()
        timezone = try row.next()
        status = try row.next()
        costCenter = try row.next()
    }
}

private struct SubscriptionRow {
    let tenantID: TenantID
    let id: SubscriptionID
    let timezone: String
    let anchor: Instant
    let startsAt: Instant
    let endsAt: Instant?

    init(row: inout PostgresRow) throws(PostgresError) {
        tenantID = try row.next()
        id = try row.next()
        timezone = try row.next()
        anchor = try row.next()
        startsAt = try row.next()
        endsAt = try row.next()
    }
}

/// Puts the rows of one reading together. Zones are shared between the tenants of a reading.
private struct TenantAssembly {
    let now: Instant
    let plans: SegmentPlans
    var subscriptions: [TenantID: [SubscriptionRow]] = [:]
    var segments: [SubscriptionID: [StoredSegment]] = [:]
    var periods: [SubscriptionID: [BillingPeriod]] = [:]
    var limits: [TenantID: [UsageLimitStore.Owned]] = [:]
    var budgets: [TenantID: [Budget]] = [:]
    var spendCaps: [TenantID: SpendCapInForce] = [:]
    private var zones: [String: Zone] = [:]

    init(now: Instant, plans: SegmentPlans) {
        self.now = now
        self.plans = plans
    }

    mutating func snapshot(_ row: TenantRow) throws -> TenantSnapshot {
        var snapshots: [SubscriptionSnapshot] = []
        for subscription in subscriptions[row.id] ?? [] {
            snapshots.append(try snapshot(subscription))
        }
        return TenantSnapshot(
            id: row.id,
            key: row.key,
            name: row.name,
            currency: row.currency,
            zone: try zone(row.timezone),
            status: row.status,
            costCenter: row.costCenter,
            catalogVersion: row.catalogVersion,
            hasLargeCounters: row.hasLargeCounters,
            subscriptions: snapshots,
            limits: (limits[row.id] ?? []).map(\.limit),
            budgets: budgets[row.id] ?? [],
            spendCap: spendCaps[row.id]
        )
    }

    private mutating func snapshot(_ row: SubscriptionRow) throws -> SubscriptionSnapshot {
        let segments = try (segments[row.id] ?? []).map(plans.segment)
        guard !segments.isEmpty else {
            throw CatalogFault.unreadable(table: "subscription_segment", key: row.id.description)
        }
        return SubscriptionSnapshot(
            id: row.id,
            segments: segments,
            periods: BillingPeriods(anchor: row.anchor, zone: try zone(row.timezone)),
            startsAt: row.startsAt,
            endsAt: row.endsAt,
            billingPeriodIDs: BillingPeriodIDs().adding(periods[row.id] ?? []),
            near: max(now, row.startsAt)
        )
    }

    private mutating func zone(_ identifier: String) throws -> Zone {
        if let zone = zones[identifier] {
            return zone
        }
        guard let zone = Zone(identifier: identifier) else {
            throw CatalogFault.unreadable(table: "tenant", key: identifier)
        }
        zones[identifier] = zone
        return zone
    }
}
