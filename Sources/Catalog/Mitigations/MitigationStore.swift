package import BillingCore
package import Postgres

/// All SQL on `mitigation`.
package enum MitigationStore {
    package static func insert(
        _ mitigation: Mitigation,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        try transaction.execute(
            """
            INSERT INTO mitigation (mitigation_id, scope, reason, created_at, expires_at)
            VALUES (
                \(mitigation.id), \(mitigation.scope), \(mitigation.reason), \(mitigation.createdAt),
                \(mitigation.expiresAt)
            )
            """
        )
    }

    /// Those whose end has not been told, by ascending id: part of the shared catalogue.
    static func open(in transaction: borrowing Transaction) throws(PostgresError) -> [Mitigation] {
        try transaction.query("\(selection) WHERE ended_at IS NULL ORDER BY mitigation_id", decode)
    }

    /// How many are in force. Exact behind `CatalogVersion.bumpBesideHolds`.
    package static func countActive(at now: Instant, in transaction: borrowing Transaction) throws(PostgresError)
        -> Int64
    {
        try transaction.first("SELECT count(*) FROM mitigation WHERE ended_at IS NULL AND expires_at > \(now)") {
            row throws(PostgresError) in try row.next(Int64.self)
        } ?? 0
    }

    package static func find(
        _ id: MitigationID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Mitigation? {
        try transaction.first("\(selection) WHERE mitigation_id = \(id)", decode)
    }

    /// Newest first.
    /// - Parameters:
    ///   - tenant: the key of the one that their scopes name.
    ///   - status: that of a time.
    package static func list(
        tenant: String?,
        status: (Mitigation.Status, at: Instant)?,
        after id: MitigationID?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [Mitigation] {
        var conditions: [SQL] = ["true"]
        if let tenant { conditions.append("scope ->> 'tenant' = \(tenant)") }
        switch status {
        case (.active, let now)?: conditions.append("ended_at IS NULL AND expires_at > \(now)")
        case (.lifted, _)?: conditions.append("ended_at < expires_at")
        case (.expired, let now)?:
            conditions.append("(ended_at = expires_at OR ended_at IS NULL AND expires_at <= \(now))")
        case nil: break
        }
        if let id { conditions.append("mitigation_id < \(id)") }
        return try transaction.query(
            """
            \(selection)
            WHERE \(SQL.joined(conditions, separator: " AND "))
            ORDER BY mitigation_id DESC
            LIMIT \(limit)
            """,
            decode
        )
    }

    /// Ends one that is in force; nil says that it isn't, or not any more.
    package static func lift(
        _ id: MitigationID,
        at now: Instant,
        reason: String?,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Mitigation? {
        try transaction.first(
            """
            UPDATE mitigation
            SET ended_at = \(now), lift_reason = \(reason)
            WHERE mitigation_id = \(id) AND ended_at IS NULL AND expires_at > \(now)
            RETURNING \(columns)
            """,
            decode
        )
    }

    /// Notes the end of some whose time is over, and answers which: each is answered once, by whatever replica.
    package static func expire(
        at now: Instant,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [Mitigation] {
        try transaction.query(
            """
            UPDATE mitigation
            SET ended_at = expires_at
            WHERE mitigation_id = ANY(ARRAY(
                SELECT mitigation_id
                FROM mitigation
                WHERE ended_at IS NULL AND expires_at <= \(now)
                ORDER BY expires_at
                LIMIT \(limit)
                FOR UPDATE SKIP LOCKED
            ))
            RETURNING \(columns)
            """,
            decode
        )
    }

    private static let columns: SQL = "mitigation_id, scope, reason, created_at, expires_at, ended_at, lift_reason"

    private static let selection: SQL = "SELECT \(columns) FROM mitigation"

    @Sendable
    private static func decode(_ row: inout PostgresRow) throws(PostgresError) -> Mitigation {
        Mitigation(
            id: try row.next(),
            scope: try row.next(),
            reason: try row.next(),
            createdAt: try row.next(),
            expiresAt: try row.next(),
            endedAt: try row.next(),
            liftReason: try row.next()
        )
    }
}
