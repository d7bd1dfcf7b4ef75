/// One row of a result. Its columns are read in order, each once.
@usableFromInline package struct PostgresRow: Sendable {
    private let storage: ResultStorage
    private var index: Int
    private var column = 0

    init(_ storage: ResultStorage, index: Int) {
        self.storage = storage
        self.index = index
    }

    mutating func rewind(to index: Int) {
        self.index = index
        column = 0
    }

    /// Decodes the next column. `T` may be optional; `NULL` into anything else is a decoding error, as is a column of
    /// another type and a column that isn't there.
    @inlinable
    package mutating func next<T: PostgresDecodable>(_: T.Type = T.self) throws(PostgresError) -> T {
        let field = try nextField()
        if let bytes = field.bytes {
            if let value = T(postgresBytes: bytes, type: field.type) { return value }
        } else if let null = T.postgresNull {
            return null
        }
        throw mismatch(field, expected: "\(T.self)")
    }

    /// Decodes the next column, `nil` when it is `NULL`.
    @inlinable
    package mutating func nextOptional<T: PostgresDecodable>(_: T.Type = T.self) throws(PostgresError) -> T? {
        try next(Optional<T>.self)
    }

    /// Passes over the next columns.
    package mutating func skip(_ count: Int = 1) {
        column += count
    }

    @usableFromInline
    mutating func nextField() throws(PostgresError) -> PostgresField {
        guard column < storage.columnCount else {
            throw PostgresError(.decoding, "the row has \(storage.columnCount) columns and no more")
        }
        defer { column += 1 }
        return storage.field(row: index, column: column)
    }

    @usableFromInline
    func mismatch(_ field: PostgresField, expected: String) -> PostgresError {
        let found = field.bytes.map { "\($0.count) bytes of \(field.type)" } ?? "NULL"
        let name = storage.columnName(column - 1)
        return PostgresError(.decoding, "column \(column) (\(name)) is \(found), which is no \(expected)")
    }
}
