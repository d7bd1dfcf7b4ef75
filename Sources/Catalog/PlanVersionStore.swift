import BillingCore
import Postgres
import Web

/// All SQL on `plan_version`.
enum PlanVersionStore {
    static func nextID(in transaction: borrowing Transaction) throws(PostgresError) -> PlanVersionID {
        try transaction.identifier("SELECT nextval('plan_version_id_seq')")
    }

    /// The number the next draft gets, which no other had, deleted or not. The caller has locked the catalogue version,
    /// so nobody else asks at the time.
    static func nextNumber(of plan: PlanID, in transaction: borrowing Transaction) throws(PostgresError) -> Int {
        let next = try transaction.first(
            """
            UPDATE plan
            SET last_version = 1 + greatest(
                last_version, (SELECT max(version) FROM plan_version WHERE plan_id = \(plan))
            )
            WHERE plan_id = \(plan)
            RETURNING last_version
            """
        ) { row throws(PostgresError) in try row.next(Int32.self) }
        return Int(next ?? 1)
    }

    static func insert(
        _ record: PlanVersionRecord,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        try transaction.execute(
            """
            INSERT INTO plan_version (
                plan_version_id, plan_id, version, status, definition, created_at, updated_at, published_at, revision
            )
            VALUES (
                \(record.id), \(record.plan.id), \(Int32(clamping: record.version)), \(record.status),
                \(PostgresJSON(text: record.definition.storedText)), \(record.createdAt), \(record.updatedAt),
                \(record.publishedAt), \(record.revision)
            )
            """
        )
    }

    /// Writes definition and publication; a published version is never written again.
    static func update(
        _ record: PlanVersionRecord,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        try transaction.execute(
            """
            UPDATE plan_version
            SET definition = \(PostgresJSON(text: record.definition.storedText)), status = \(record.status),
                updated_at = \(record.updatedAt), published_at = \(record.publishedAt), revision = \(record.revision)
            WHERE plan_version_id = \(record.id) AND status = 'draft'
            """
        )
    }

    static func deleteDraft(_ id: PlanVersionID, in transaction: borrowing Transaction) throws(PostgresError) {
        try transaction.execute("DELETE FROM plan_version WHERE plan_version_id = \(id) AND status = 'draft'")
    }

    static func find(
        plan: String,
        version: Int,
        in transaction: borrowing Transaction
    ) throws -> PlanVersionRecord? {
        let rows = try transaction.query(
            """
            \(selection)
            WHERE plan.key = \(plan) AND version.version = \(Int32(clamping: version))
            """,
            StoredVersion.init(row:)
        )
        return try records(rows, in: transaction).first
    }

    /// The published version with the highest number.
    static func latestPublished(plan: String, in transaction: borrowing Transaction) throws -> PlanVersionRecord? {
        let rows = try transaction.query(
            """
            \(selection)
            WHERE plan.key = \(plan) AND version.status = 'published'
            ORDER BY version.version DESC
            LIMIT 1
            """,
            StoredVersion.init(row:)
        )
        return try records(rows, in: transaction).first
    }

    /// Versions of a plan, newest first.
    static func list(
        plan: PlanID,
        before version: Int?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws -> [PlanVersionRecord] {
        let rows = try transaction.query(
            """
            \(selection)
            WHERE version.plan_id = \(plan) AND version.version < \(Int32(clamping: version ?? .max))
            ORDER BY version.version DESC
            LIMIT \(limit)
            """,
            StoredVersion.init(row:)
        )
        return try records(rows, in: transaction)
    }

    /// Versions as the read model shares them.
    static func snapshots(_ ids: [PlanVersionID], in transaction: borrowing Transaction) throws -> [PlanVersion] {
        guard !ids.isEmpty else { return [] }
        let rows = try transaction.query(
            """
            \(selection)
            WHERE version.plan_version_id = ANY(\(ids)::bigint[])
            ORDER BY version.plan_version_id
            """,
            StoredVersion.init(row:)
        )
        return try records(rows, in: transaction).map(\.snapshot)
    }

    /// Versions, drafts included, that charge or limit a feature: `pro v2`.
    static func names(
        mentioning feature: String,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [String] {
        let entry = JSONValue.array([.members(["feature": .string(feature)])])
        let charged = PostgresJSON(text: JSONValue.members(["charges": entry]).text)
        let limited = PostgresJSON(text: JSONValue.members(["quotas": entry]).text)
        return try transaction.query(
            """
            SELECT plan.key || ' v' || version.version
            FROM plan_version AS version
            JOIN plan ON plan.plan_id = version.plan_id
            WHERE version.definition @> \(charged) OR version.definition @> \(limited)
            ORDER BY plan.key, version.version
            LIMIT \(limit)
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
    }

    private static let selection: SQL = """
        SELECT plan.plan_id, plan.key, plan.name, plan.currency, plan.created_at, plan.updated_at, plan.revision,
            version.plan_version_id, version.version, version.status, version.definition, version.created_at,
            version.updated_at, version.published_at, version.revision
        FROM plan_version AS version
        JOIN plan ON plan.plan_id = version.plan_id
        """

    /// Definitions name features by key; their ids are read in one statement for all.
    private static func records(
        _ rows: [StoredVersion],
        in transaction: borrowing Transaction
    ) throws -> [PlanVersionRecord] {
        let drafts = try rows.map { try $0.draft() }
        let keys = Set(drafts.flatMap(\.featureKeys)).sorted()
        let ids = keys.isEmpty ? [:] : try featureIDs(keys, in: transaction)
        return try zip(rows, drafts).map { try $0.record($1, features: ids) }
    }

    /// The ids of features by their keys; absent where there is no such feature.
    static func featureIDs(
        _ keys: [String],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [String: FeatureID] {
        let pairs = try transaction.query(
            "SELECT key, feature_id FROM feature WHERE key = ANY(\(keys)::text[]) ORDER BY key"
        ) { row throws(PostgresError) in (try row.next(String.self), try row.next(FeatureID.self)) }
        return Dictionary(pairs) { first, _ in first }
    }
}

private struct StoredVersion {
    let plan: Plan
    let id: PlanVersionID
    let version: Int32
    let status: PlanVersionStatus
    let definition: PostgresJSON
    let createdAt: Instant
    let updatedAt: Instant
    let publishedAt: Instant?
    let revision: Int64

    init(row: inout PostgresRow) throws(PostgresError) {
        plan = try PlanStore.plan(&row)
        id = try row.next()
        version = try row.next()
        status = try row.next()
        definition = try row.next()
        createdAt = try row.next()
        updatedAt = try row.next()
        publishedAt = try row.next()
        revision = try row.next()
    }

    private var unreadable: CatalogFault {
        .unreadable(table: "plan_version", key: "\(plan.key) v\(version)")
    }

    func draft() throws -> PlanDraft {
        do {
            return try PlanDraft.read(JSONObjectReader(JSONValue(parsing: definition.text)), isStored: true)
        } catch is ValidationFailure {
            throw unreadable
        }
    }

    func record(_ draft: PlanDraft, features: [String: FeatureID]) throws -> PlanVersionRecord {
        let charges = try draft.charges.map { charge in
            guard let feature = features[charge.feature] else { throw unreadable }
            return Charge(featureID: feature, featureKey: charge.feature, price: charge.price)
        }
        let quotas = try draft.quotas.map { quota in
            guard let feature = features[quota.feature] else { throw unreadable }
            return Quota(quota, feature: feature)
        }
        return PlanVersionRecord(
            id: id,
            plan: plan,
            version: Int(version),
            status: status,
            definition: PlanDefinition(fees: draft.fees, charges: charges, quotas: quotas, terms: draft.terms),
            createdAt: createdAt,
            updatedAt: updatedAt,
            publishedAt: publishedAt,
            revision: revision
        )
    }
}

extension PlanVersionRecord {
    /// The version as rating and invoicing read it.
    package var snapshot: PlanVersion {
        PlanVersion(
            id: id,
            planID: plan.id,
            planKey: plan.key,
            planName: plan.name,
            version: version,
            currency: plan.currency,
            definition: definition
        )
    }
}

extension PlanDefinition {
    /// What `definition` holds.
    var storedText: String { json.text }
}
