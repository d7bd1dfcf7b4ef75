import BillingCore
import Postgres
import Web

/// All SQL on `price_book`.
enum PriceBookStore {
    /// Which entries a list shows.
    struct Filter: Sendable {
        var provider: String?
        var model: String?
        var component: CostComponent?
        /// Only those in force at this instant.
        var effectiveAt: Instant?
    }

    /// The place of an entry in the order of lists.
    struct Position: Sendable {
        let rate: ProviderPrice.Rate
        let effectiveFrom: Instant
    }

    /// Adds entries, and returns the ids of those whose rate had no entry from the same instant.
    static func insert(
        _ records: [PriceRecord],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [PriceID] {
        let rates = records.map(\.price.rate)
        return try transaction.query(
            """
            INSERT INTO price_book (
                price_id, provider, model, component, above_input_tokens, unit_amount, currency, effective_from,
                source, created_version, created_at
            )
            SELECT * FROM unnest(
                \(records.map(\.price.id))::uuid[], \(rates.map(\.provider))::text[],
                \(rates.map(\.model))::text[], \(rates.map(\.component))::text[],
                \(rates.map(\.aboveInputTokens))::bigint[], \(records.map(\.price.unitAmount))::numeric[],
                \(records.map(\.price.currency))::text[], \(records.map(\.price.effectiveFrom))::timestamptz[],
                \(records.map(\.source))::text[], \(records.map(\.price.createdVersion))::bigint[],
                \(records.map(\.createdAt))::timestamptz[]
            )
            ON CONFLICT ON CONSTRAINT price_book_unique DO NOTHING
            RETURNING price_id
            """
        ) { row throws(PostgresError) in try row.next(PriceID.self) }
    }

    /// Removes an entry that no cost was computed with; false when there is none.
    static func deleteUnused(_ id: PriceID, in transaction: borrowing Transaction) throws(PostgresError) -> Bool {
        try transaction.execute(
            """
            DELETE FROM price_book
            WHERE price_id = \(id)
                AND NOT EXISTS (SELECT FROM price_set_entry AS used WHERE used.price_id = price_book.price_id)
            """
        ) == 1
    }

    static func find(_ id: PriceID, in transaction: borrowing Transaction) throws(PostgresError) -> PriceRecord? {
        try transaction.first(
            """
            \(selection)
            WHERE price.price_id = \(id)
            """,
            record
        )
    }

    /// Every entry, without telling whether it is used.
    static func all(in transaction: borrowing Transaction) throws(PostgresError) -> [ProviderPrice] {
        try transaction.query(
            """
            SELECT price_id, provider, model, component, above_input_tokens, unit_amount, currency, effective_from,
                created_version
            FROM price_book
            """,
            price
        )
    }

    /// The entry in force at an instant of every rate that has one.
    static func inForce(
        at instant: Instant,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [ProviderPrice] {
        try transaction.query(
            """
            SELECT DISTINCT ON (provider, model, component, above_input_tokens)
                price_id, provider, model, component, above_input_tokens, unit_amount, currency, effective_from,
                created_version
            FROM price_book
            WHERE effective_from <= \(instant)
            ORDER BY provider, model, component, above_input_tokens, effective_from DESC
            """,
            price
        )
    }

    /// Entries in the order of provider, model, component, threshold and start: a rate's history stands together.
    static func list(
        _ filter: Filter,
        after position: Position?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [PriceRecord] {
        try transaction.query(page(filter, after: position, limit: limit), record)
    }

    static func page(_ filter: Filter, after position: Position?, limit: Int) -> SQL {
        var conditions: [SQL] = ["true"]
        if let provider = filter.provider { conditions.append("price.provider = \(provider)") }
        if let model = filter.model { conditions.append("price.model = \(model)") }
        if let component = filter.component { conditions.append("price.component = \(component)") }
        if let instant = filter.effectiveAt { conditions.append(isInForce(at: instant)) }
        if let position {
            conditions.append(
                """
                (price.provider, price.model, price.component, price.above_input_tokens, price.effective_from) > (
                    \(position.rate.provider), \(position.rate.model), \(position.rate.component),
                    \(position.rate.aboveInputTokens), \(position.effectiveFrom)
                )
                """
            )
        }
        return """
            \(selection)
            WHERE \(SQL.joined(conditions, separator: " AND "))
            ORDER BY price.provider, price.model, price.component, price.above_input_tokens, price.effective_from
            LIMIT \(limit)
            """
    }

    private static func isInForce(at instant: Instant) -> SQL {
        """
        price.effective_from <= \(instant) AND NOT EXISTS (
            SELECT FROM price_book AS later
            WHERE later.provider = price.provider AND later.model = price.model
                AND later.component = price.component AND later.above_input_tokens = price.above_input_tokens
                AND later.effective_from > price.effective_from AND later.effective_from <= \(instant)
        )
        """
    }

    /// Whether it is used is looked up for each row: an EXISTS here makes PostgreSQL read all uses first.
    private static let selection: SQL = """
        SELECT price.price_id, price.provider, price.model, price.component, price.above_input_tokens,
            price.unit_amount, price.currency, price.effective_from, price.created_version, price.source,
            price.created_at,
            (SELECT true FROM price_set_entry AS used WHERE used.price_id = price.price_id LIMIT 1) IS NOT NULL
        FROM price_book AS price
        """

    @Sendable
    private static func price(_ row: inout PostgresRow) throws(PostgresError) -> ProviderPrice {
        let id = try row.next(PriceID.self)
        let rate = ProviderPrice.Rate(
            provider: try row.next(),
            model: try row.next(),
            component: try row.next(),
            aboveInputTokens: try row.next()
        )
        return ProviderPrice(
            id: id,
            rate: rate,
            unitAmount: try row.next(),
            currency: try row.next(),
            effectiveFrom: try row.next(),
            createdVersion: try row.next()
        )
    }

    @Sendable
    private static func record(_ row: inout PostgresRow) throws(PostgresError) -> PriceRecord {
        let price = try price(&row)
        return PriceRecord(
            price: price,
            source: try row.next(),
            createdAt: try row.next(),
            isUsed: try row.next()
        )
    }
}

extension PriceSource: PostgresConvertible {}
