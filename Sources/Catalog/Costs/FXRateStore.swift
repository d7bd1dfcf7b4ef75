import BillingCore
import Postgres
import Web

/// An exchange rate as it is stored.
struct FXRateRecord: Sendable {
    let rate: FXRate
    let createdAt: Instant
    /// When a cost was first converted with it.
    var usedAt: Instant?
}

/// All SQL on `fx_rate`.
enum FXRateStore {
    /// Adds a rate; false when its currencies have one from the same instant.
    static func insert(_ record: FXRateRecord, in transaction: borrowing Transaction) throws(PostgresError) -> Bool {
        let rate = record.rate
        return try transaction.execute(
            """
            INSERT INTO fx_rate (fx_rate_id, from_currency, to_currency, rate, effective_from, created_at)
            VALUES (
                \(rate.id), \(rate.from), \(rate.to), \(rate.rate), \(rate.effectiveFrom), \(record.createdAt)
            )
            ON CONFLICT ON CONSTRAINT fx_rate_unique DO NOTHING
            """
        ) == 1
    }

    /// Removes a rate that no cost was converted with; false when there is none.
    static func deleteUnused(_ id: FXRateID, in transaction: borrowing Transaction) throws(PostgresError) -> Bool {
        try transaction.execute("DELETE FROM fx_rate WHERE fx_rate_id = \(id) AND used_at IS NULL") == 1
    }

    /// Notes that costs are converted with rates from now on, and returns those that still exist.
    static func markUsed(
        _ ids: [FXRateID],
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [FXRateID] {
        try transaction.execute(
            "UPDATE fx_rate SET used_at = \(now) WHERE fx_rate_id = ANY(\(ids)::uuid[]) AND used_at IS NULL"
        )
        return try transaction.query(
            "SELECT fx_rate_id FROM fx_rate WHERE fx_rate_id = ANY(\(ids)::uuid[]) AND used_at IS NOT NULL"
        ) { row throws(PostgresError) in try row.next(FXRateID.self) }
    }

    static func find(_ id: FXRateID, in transaction: borrowing Transaction) throws(PostgresError) -> FXRateRecord? {
        try transaction.first(
            """
            \(selection)
            WHERE fx_rate_id = \(id)
            """,
            record
        )
    }

    /// Every rate.
    static func all(in transaction: borrowing Transaction) throws(PostgresError) -> [FXRate] {
        try transaction.query(selection, record).map(\.rate)
    }

    /// Rates by currencies and start.
    static func list(
        from: Currency?,
        to: Currency?,
        after position: (from: String, to: String, start: Instant)?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [FXRateRecord] {
        try transaction.query(page(from: from, to: to, after: position, limit: limit), record)
    }

    static func page(
        from: Currency?,
        to: Currency?,
        after position: (from: String, to: String, start: Instant)?,
        limit: Int
    ) -> SQL {
        var conditions: [SQL] = ["true"]
        if let from { conditions.append("from_currency = \(from)") }
        if let to { conditions.append("to_currency = \(to)") }
        if let position {
            conditions.append(
                """
                (from_currency, to_currency, effective_from) > (\(position.from), \(position.to), \(position.start))
                """
            )
        }
        return """
            \(selection)
            WHERE \(SQL.joined(conditions, separator: " AND "))
            ORDER BY from_currency, to_currency, effective_from
            LIMIT \(limit)
            """
    }

    private static let selection: SQL = """
        SELECT fx_rate_id, from_currency, to_currency, rate, effective_from, created_at, used_at
        FROM fx_rate
        """

    @Sendable
    private static func record(_ row: inout PostgresRow) throws(PostgresError) -> FXRateRecord {
        let rate = FXRate(
            id: try row.next(),
            from: try row.next(),
            to: try row.next(),
            rate: try row.next(),
            effectiveFrom: try row.next()
        )
        return FXRateRecord(rate: rate, createdAt: try row.next(), usedAt: try row.next())
    }
}
