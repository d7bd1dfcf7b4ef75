package import BillingCore
package import Postgres
import Web

/// A segment as it is stored.
struct StoredSegment: Sendable {
    let tenantID: TenantID
    let subscriptionID: SubscriptionID
    let ordinal: Int
    let planVersionID: PlanVersionID
    let startsAt: Instant
    /// `PlanOverrides.json`; nil where there are none.
    let overrides: PostgresJSON?
    let createdAt: Instant
}

/// All SQL on `subscription_segment`.
enum SubscriptionSegmentStore {
    /// A segment and the names of its plan version.
    typealias Named = (segment: StoredSegment, plan: String, version: Int)

    static func insert(
        _ segment: Subscription.Segment,
        of subscription: Subscription,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        try transaction.execute(
            """
            INSERT INTO subscription_segment (
                tenant_id, subscription_id, ordinal, plan_version_id, starts_at, overrides, created_at
            )
            VALUES (
                \(subscription.tenantID), \(subscription.id), \(Int32(clamping: segment.ordinal)),
                \(segment.planVersionID), \(segment.startsAt),
                \(segment.overrides.map { PostgresJSON(text: $0.text) }), \(segment.createdAt)
            )
            """
        )
    }

    /// Deletes the segments from an ordinal on. The caller has made sure that they have no usage.
    static func delete(
        from ordinal: Int,
        of subscription: SubscriptionID,
        tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        try transaction.execute(
            """
            DELETE FROM subscription_segment
            WHERE tenant_id = \(tenant) AND subscription_id = \(subscription)
                AND ordinal >= \(Int32(clamping: ordinal))
            """
        )
    }

    /// The segments of tenants' subscriptions, for a pipeline; its rows decode with `segment`.
    static func segments(ofTenants ids: [TenantID]) -> SQL {
        """
        SELECT tenant_id, subscription_id, ordinal, plan_version_id, starts_at, overrides, created_at
        FROM subscription_segment
        WHERE tenant_id = ANY(\(ids)::bigint[])
        ORDER BY tenant_id, subscription_id, ordinal
        """
    }

    /// The segments of some subscriptions, with the plan versions' names.
    static func named(
        of subscriptions: [(tenant: TenantID, id: SubscriptionID)],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [Named] {
        guard !subscriptions.isEmpty else { return [] }
        return try transaction.query(
            """
            SELECT segment.tenant_id, segment.subscription_id, segment.ordinal, segment.plan_version_id,
                segment.starts_at, segment.overrides, segment.created_at, plan.key, version.version
            FROM unnest(\(subscriptions.map(\.tenant))::bigint[], \(subscriptions.map(\.id))::uuid[])
                AS wanted (tenant_id, subscription_id)
            JOIN subscription_segment AS segment USING (tenant_id, subscription_id)
            JOIN plan_version AS version ON version.plan_version_id = segment.plan_version_id
            JOIN plan ON plan.plan_id = version.plan_id
            ORDER BY segment.tenant_id, segment.subscription_id, segment.ordinal
            """
        ) { row throws(PostgresError) in
            (try segment(&row), try row.next(String.self), Int(try row.next(Int32.self)))
        }
    }

    /// The segment in force for a tenant at an instant; nil when no subscription covers it.
    static func segment(
        covering instant: Instant,
        tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> StoredSegment? {
        try transaction.first(
            """
            SELECT segment.tenant_id, segment.subscription_id, segment.ordinal, segment.plan_version_id,
                segment.starts_at, segment.overrides, segment.created_at
            FROM subscription
            JOIN subscription_segment AS segment USING (tenant_id, subscription_id)
            WHERE subscription.tenant_id = \(tenant) AND subscription.starts_at <= \(instant)
                AND (subscription.ends_at IS NULL OR subscription.ends_at > \(instant))
                AND segment.starts_at <= \(instant)
            ORDER BY subscription.starts_at DESC, segment.ordinal DESC
            LIMIT 1
            """,
            Self.segment
        )
    }

    /// Tenants, by key, that have their own price or quota of a feature.
    static func tenants(
        overriding feature: String,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [String] {
        let entry = JSONValue.array([.members(["feature": .string(feature)])])
        let charged = PostgresJSON(text: JSONValue.members(["charges": entry]).text)
        let limited = PostgresJSON(text: JSONValue.members(["quotas": entry]).text)
        return try transaction.query(
            """
            SELECT tenant.key
            FROM tenant
            WHERE EXISTS (
                SELECT FROM subscription_segment AS segment
                WHERE segment.tenant_id = tenant.tenant_id
                    AND (segment.overrides @> \(charged) OR segment.overrides @> \(limited))
            ) OR EXISTS (
                SELECT FROM quota_override AS quota
                JOIN feature ON feature.feature_id = quota.feature_id
                WHERE quota.tenant_id = tenant.tenant_id AND quota.active AND feature.key = \(feature)
            )
            ORDER BY tenant.key
            LIMIT \(limit)
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
    }

    /// Decodes the seven columns of a segment.
    static func segment(_ row: inout PostgresRow) throws(PostgresError) -> StoredSegment {
        StoredSegment(
            tenantID: try row.next(),
            subscriptionID: try row.next(),
            ordinal: Int(try row.next(Int32.self)),
            planVersionID: try row.next(),
            startsAt: try row.next(),
            overrides: try row.next(),
            createdAt: try row.next()
        )
    }
}

extension SubscriptionSegment {
    /// Scheduled segments of a subscription as they were once, whether or not they were withdrawn since.
    package static func all(
        _ scheduled: [ScheduledSegment],
        of subscription: SubscriptionID,
        tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws -> [SubscriptionSegment] {
        let rows = scheduled.map { segment in
            StoredSegment(
                tenantID: tenant,
                subscriptionID: subscription,
                ordinal: segment.ordinal,
                planVersionID: segment.planVersionID,
                startsAt: segment.startsAt,
                overrides: segment.overrides.map { PostgresJSON(text: $0.text) },
                createdAt: segment.startsAt
            )
        }
        return try rows.map(SegmentPlans(of: rows, in: transaction).segment)
    }
}

/// The plan versions of some segments, each as its segment has it. Versions and features are read in one statement
/// each, however many segments there are.
struct SegmentPlans: Sendable {
    private struct Key: Hashable {
        let subscription: SubscriptionID
        let ordinal: Int

        init(_ segment: StoredSegment) {
            subscription = segment.subscriptionID
            ordinal = segment.ordinal
        }
    }

    private var published: [PlanVersionID: PlanVersion]
    private var overrides: [Key: PlanOverrides] = [:]

    /// - Parameter known: versions that need not be read.
    init(
        of segments: [StoredSegment],
        known: [PlanVersionID: PlanVersion] = [:],
        in transaction: borrowing Transaction
    ) throws {
        published = known
        let missing = Set(segments.map(\.planVersionID)).subtracting(known.keys)
        for version in try PlanVersionStore.snapshots(missing.sorted(), in: transaction) {
            published[version.id] = version
        }
        var drafts: [(Key, PlanDraft)] = []
        for segment in segments {
            guard let text = segment.overrides?.text else { continue }
            drafts.append((Key(segment), try Self.draft(text, of: segment)))
        }
        let features = Set(drafts.flatMap(\.1.featureKeys)).sorted()
        let ids = features.isEmpty ? [:] : try PlanVersionStore.featureIDs(features, in: transaction)
        for (key, draft) in drafts {
            overrides[key] = try PlanOverrides(stored: draft, features: ids)
        }
    }

    func segment(_ row: StoredSegment) throws -> SubscriptionSegment {
        guard let version = published[row.planVersionID] else {
            throw CatalogFault.unreadable(table: "plan_version", key: String(row.planVersionID.rawValue))
        }
        return SubscriptionSegment(
            ordinal: row.ordinal,
            startsAt: row.startsAt,
            published: version,
            planVersion: overrides[Key(row)]?.applied(to: version),
            overrides: try row.overrides.map { try JSONValue(stored: $0.text) }
        )
    }

    private static func draft(_ text: String, of segment: StoredSegment) throws -> PlanDraft {
        do {
            let fields = JSONObjectReader(try JSONValue(parsing: text))
            let draft = PlanDraft.readOverrides(fields, isStored: true)
            try fields.finish()
            return draft
        } catch is ValidationFailure {
            let key = "\(segment.subscriptionID) \(segment.ordinal)"
            throw CatalogFault.unreadable(table: "subscription_segment", key: key)
        }
    }
}

extension PlanOverrides {
    fileprivate init(stored draft: PlanDraft, features: [String: FeatureID]) throws {
        func id(_ key: String) throws -> FeatureID {
            guard let id = features[key] else { throw CatalogFault.unreadable(table: "feature", key: key) }
            return id
        }
        fees = draft.fees
        charges = try draft.charges.map {
            Charge(featureID: try id($0.feature), featureKey: $0.feature, price: $0.price)
        }
        quotas = try draft.quotas.map { Quota($0, feature: try id($0.feature)) }
        terms = draft.terms
    }
}
