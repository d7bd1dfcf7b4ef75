import BillingCore
import Postgres
import Web

/// All SQL on `feature`.
enum FeatureStore {
    static func nextID(in transaction: borrowing Transaction) throws(PostgresError) -> FeatureID {
        try transaction.identifier("SELECT nextval('feature_id_seq')")
    }

    /// Inserts the feature unless its key is taken; false says it was.
    static func insert(_ feature: Feature, in transaction: borrowing Transaction) throws(PostgresError) -> Bool {
        try transaction.execute(
            """
            INSERT INTO feature (
                feature_id, key, name, meter_id, filters, unit, created_version, created_at, updated_at, revision
            )
            VALUES (
                \(feature.id), \(feature.key), \(feature.name), \(feature.meterID),
                \(PostgresJSON(text: feature.storedFilters)), \(feature.unit), \(feature.createdVersion),
                \(feature.createdAt), \(feature.updatedAt), \(feature.revision)
            )
            ON CONFLICT (key) DO NOTHING
            """
        ) == 1
    }

    /// Writes name and archival, the only things that change.
    static func update(_ feature: Feature, in transaction: borrowing Transaction) throws(PostgresError) {
        try transaction.execute(
            """
            UPDATE feature
            SET name = \(feature.name), archived_version = \(feature.archivedVersion),
                updated_at = \(feature.updatedAt), revision = \(feature.revision)
            WHERE feature_id = \(feature.id)
            """
        )
    }

    static func find(key: String, in transaction: borrowing Transaction) throws -> Feature? {
        try transaction.first(
            """
            \(selection)
            WHERE feature.key = \(key)
            """,
            FeatureRecord.init(row:)
        )?.feature()
    }

    static func find(keys: [String], in transaction: borrowing Transaction) throws -> [Feature] {
        try transaction.query(
            """
            \(selection)
            WHERE feature.key = ANY(\(keys)::text[])
            ORDER BY feature.key
            """,
            FeatureRecord.init(row:)
        ).map { try $0.feature() }
    }

    /// Every feature, archived ones included.
    static func all(in transaction: borrowing Transaction) throws -> [Feature] {
        try transaction.query(
            """
            \(selection)
            ORDER BY feature.feature_id
            """,
            FeatureRecord.init(row:)
        ).map { try $0.feature() }
    }

    /// Features by ascending key, of one meter if one is given.
    static func list(
        meter: String?,
        includingArchived: Bool,
        after key: String?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws -> [Feature] {
        try transaction.query(
            """
            \(selection)
            WHERE feature.key > \(key ?? "") AND (\(includingArchived) OR feature.archived_version IS NULL)
                AND (\(meter)::text IS NULL OR meter.key = \(meter))
            ORDER BY feature.key
            LIMIT \(limit)
            """,
            FeatureRecord.init(row:)
        ).map { try $0.feature() }
    }

    /// Keys of the features in use that a meter feeds.
    static func keys(
        fedBy meter: MeterID,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [String] {
        try transaction.query(
            """
            SELECT key
            FROM feature
            WHERE meter_id = \(meter) AND archived_version IS NULL
            ORDER BY key
            LIMIT \(limit)
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
    }

    private static let selection: SQL = """
        SELECT feature.feature_id, feature.key, feature.name, feature.meter_id, meter.key, feature.filters,
            feature.unit, feature.created_version, feature.archived_version, feature.created_at,
            feature.updated_at, feature.revision
        FROM feature
        JOIN meter ON meter.meter_id = feature.meter_id
        """
}

private struct FeatureRecord {
    let id: FeatureID
    let key: String
    let name: String
    let meterID: MeterID
    let meterKey: String
    let filters: PostgresJSON
    let unit: String
    let createdVersion: Int64
    let archivedVersion: Int64?
    let createdAt: Instant
    let updatedAt: Instant
    let revision: Int64

    init(row: inout PostgresRow) throws(PostgresError) {
        id = try row.next()
        key = try row.next()
        name = try row.next()
        meterID = try row.next()
        meterKey = try row.next()
        filters = try row.next()
        unit = try row.next()
        createdVersion = try row.next()
        archivedVersion = try row.next()
        createdAt = try row.next()
        updatedAt = try row.next()
        revision = try row.next()
    }

    func feature() throws -> Feature {
        Feature(
            id: id,
            key: key,
            name: name,
            meterID: meterID,
            meterKey: meterKey,
            filters: try Feature.filters(stored: filters.text, key: key),
            unit: unit,
            createdVersion: createdVersion,
            archivedVersion: archivedVersion,
            createdAt: createdAt,
            updatedAt: updatedAt,
            revision: revision
        )
    }
}

extension Feature {
    /// What `filters` holds.
    var storedFilters: String {
        JSONValue.array(filters.map { $0.json(nameField: "dimension") }).text
    }

    fileprivate static func filters(stored text: String, key: String) throws -> [ValueFilter] {
        let wrapped = JSONValue.object([JSONMember(name: "filters", value: try JSONValue(parsing: text))])
        let fields = JSONObjectReader(wrapped)
        let filters = fields.objects("filters") { ValueFilter.read($0, nameField: "dimension") }
        guard fields.faults.isEmpty else { throw CatalogFault.unreadable(table: "feature", key: key) }
        return filters.compactMap { $0 }
    }
}
