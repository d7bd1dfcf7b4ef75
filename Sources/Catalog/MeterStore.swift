import BillingCore
import Postgres
import Web

/// All SQL on `meter`.
enum MeterStore {
    /// Inserts the meter unless its key is taken; false says it was.
    static func insert(_ meter: Meter, in transaction: borrowing Transaction) throws(PostgresError) -> Bool {
        let definition = PostgresJSON(text: meter.definition.storedText)
        return try transaction.execute(
            """
            INSERT INTO meter (
                meter_id, key, name, event_type, aggregation, definition, created_version, created_at, updated_at,
                revision
            )
            VALUES (
                \(meter.id), \(meter.key), \(meter.name), \(meter.definition.eventType),
                \(meter.definition.aggregation), \(definition), \(meter.createdVersion), \(meter.createdAt),
                \(meter.updatedAt), \(meter.revision)
            )
            ON CONFLICT (key) DO NOTHING
            """
        ) == 1
    }

    static func nextID(in transaction: borrowing Transaction) throws(PostgresError) -> MeterID {
        try transaction.identifier("SELECT nextval('meter_id_seq')")
    }

    /// Writes name and archival, the only things that change.
    static func update(_ meter: Meter, in transaction: borrowing Transaction) throws(PostgresError) {
        try transaction.execute(
            """
            UPDATE meter
            SET name = \(meter.name), archived_version = \(meter.archivedVersion), updated_at = \(meter.updatedAt),
                revision = \(meter.revision)
            WHERE meter_id = \(meter.id)
            """
        )
    }

    static func find(key: String, in transaction: borrowing Transaction) throws -> Meter? {
        try transaction.first(
            """
            \(selection)
            WHERE key = \(key)
            """,
            MeterRecord.init(row:)
        )?.meter()
    }

    static func find(ids: [MeterID], in transaction: borrowing Transaction) throws -> [Meter] {
        try transaction.query(
            """
            \(selection)
            WHERE meter_id = ANY(\(ids)::bigint[])
            ORDER BY meter_id
            """,
            MeterRecord.init(row:)
        ).map { try $0.meter() }
    }

    /// Every meter, archived ones included.
    static func all(in transaction: borrowing Transaction) throws -> [Meter] {
        try transaction.query(
            """
            \(selection)
            ORDER BY meter_id
            """,
            MeterRecord.init(row:)
        ).map { try $0.meter() }
    }

    /// Meters by ascending key.
    static func list(
        includingArchived: Bool,
        after key: String?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws -> [Meter] {
        try transaction.query(
            """
            \(selection)
            WHERE key > \(key ?? "") AND (\(includingArchived) OR archived_version IS NULL)
            ORDER BY key
            LIMIT \(limit)
            """,
            MeterRecord.init(row:)
        ).map { try $0.meter() }
    }

    private static let selection: SQL = """
        SELECT meter_id, key, name, definition, created_version, archived_version, created_at, updated_at, revision
        FROM meter
        """
}

private struct MeterRecord {
    let id: MeterID
    let key: String
    let name: String
    let definition: PostgresJSON
    let createdVersion: Int64
    let archivedVersion: Int64?
    let createdAt: Instant
    let updatedAt: Instant
    let revision: Int64

    init(row: inout PostgresRow) throws(PostgresError) {
        id = try row.next()
        key = try row.next()
        name = try row.next()
        definition = try row.next()
        createdVersion = try row.next()
        archivedVersion = try row.next()
        createdAt = try row.next()
        updatedAt = try row.next()
        revision = try row.next()
    }

    func meter() throws -> Meter {
        Meter(
            id: id,
            key: key,
            name: name,
            definition: try MeterDefinition(stored: definition.text, key: key),
            createdVersion: createdVersion,
            archivedVersion: archivedVersion,
            createdAt: createdAt,
            updatedAt: updatedAt,
            revision: revision
        )
    }
}

extension MeterDefinition {
    /// What `definition` holds.
    var storedText: String { json.text }

    init(stored text: String, key: String) throws {
        let fields = JSONObjectReader(try JSONValue(parsing: text))
        guard let definition = MeterDefinition.read(fields), fields.faults.isEmpty else {
            throw CatalogFault.unreadable(table: "meter", key: key)
        }
        self = definition
    }
}
