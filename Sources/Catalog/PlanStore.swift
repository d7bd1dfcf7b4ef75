import BillingCore
import Postgres

/// All SQL on `plan`.
enum PlanStore {
    static func nextID(in transaction: borrowing Transaction) throws(PostgresError) -> PlanID {
        try transaction.identifier("SELECT nextval('plan_id_seq')")
    }

    /// Inserts the plan unless its key is taken; false says it was.
    static func insert(_ plan: Plan, in transaction: borrowing Transaction) throws(PostgresError) -> Bool {
        try transaction.execute(
            """
            INSERT INTO plan (plan_id, key, name, currency, created_at, updated_at, revision)
            VALUES (
                \(plan.id), \(plan.key), \(plan.name), \(plan.currency), \(plan.createdAt), \(plan.updatedAt),
                \(plan.revision)
            )
            ON CONFLICT (key) DO NOTHING
            """
        ) == 1
    }

    static func update(_ plan: Plan, in transaction: borrowing Transaction) throws(PostgresError) {
        try transaction.execute(
            """
            UPDATE plan
            SET name = \(plan.name), updated_at = \(plan.updatedAt), revision = \(plan.revision)
            WHERE plan_id = \(plan.id)
            """
        )
    }

    static func find(key: String, in transaction: borrowing Transaction) throws(PostgresError) -> ListedPlan? {
        try transaction.first(
            """
            \(selection)
            WHERE plan.key = \(key)
            """,
            Self.listed
        )
    }

    /// Plans by ascending key.
    static func list(
        after key: String?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [ListedPlan] {
        try transaction.query(
            """
            \(selection)
            WHERE plan.key > \(key ?? "")
            ORDER BY plan.key
            LIMIT \(limit)
            """,
            Self.listed
        )
    }

    private static let selection: SQL = """
        SELECT plan.plan_id, plan.key, plan.name, plan.currency, plan.created_at, plan.updated_at, plan.revision,
            (
                SELECT max(version.version)
                FROM plan_version AS version
                WHERE version.plan_id = plan.plan_id AND version.status = 'published'
            )
        FROM plan
        """

    /// Decodes the seven columns of a plan.
    static func plan(_ row: inout PostgresRow) throws(PostgresError) -> Plan {
        let id = try row.next(PlanID.self)
        let key = try row.next(String.self)
        let name = try row.next(String.self)
        let currency = try row.next(Currency.self)
        let createdAt = try row.next(Instant.self)
        let updatedAt = try row.next(Instant.self)
        return Plan(
            id: id,
            key: key,
            name: name,
            currency: currency,
            createdAt: createdAt,
            updatedAt: updatedAt,
            revision: try row.next()
        )
    }

    private static func listed(_ row: inout PostgresRow) throws(PostgresError) -> ListedPlan {
        let plan = try plan(&row)
        let version = try row.next(Int32?.self)
        return ListedPlan(plan: plan, publishedVersion: version.map { Int($0) })
    }
}
