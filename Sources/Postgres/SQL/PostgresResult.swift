import CLibPQ

/// The result of one statement. It owns its memory and may outlive its transaction.
package struct PostgresResult: Sendable {
    private let storage: ResultStorage
    private let statement: SQL?

    init(_ handle: OpaquePointer, of statement: SQL? = nil) {
        storage = ResultStorage(handle)
        self.statement = statement
    }

    package var rowCount: Int { storage.rowCount }

    /// Rows inserted, updated, deleted or read, as the command tag counts them.
    package var affectedRows: Int {
        PQcmdTuples(storage.handle).flatMap { Int(String(cString: $0)) } ?? 0
    }

    /// The rows, to be read one after the other.
    package var rows: some Sequence<PostgresRow> {
        (0..<rowCount).lazy.map { [storage] in PostgresRow(storage, index: $0) }
    }

    /// Decodes every row.
    package func map<Value>(
        _ body: (inout PostgresRow) throws(PostgresError) -> Value
    ) throws(PostgresError) -> [Value] {
        var values: [Value] = []
        let count = rowCount
        values.reserveCapacity(count)
        var row = PostgresRow(storage, index: 0)
        for index in 0..<count {
            row.rewind(to: index)
            values.append(try decode(&row, body))
        }
        return values
    }

    /// Decodes the first row; `nil` when there is none.
    package func first<Value>(
        _ body: (inout PostgresRow) throws(PostgresError) -> Value
    ) throws(PostgresError) -> Value? {
        guard rowCount > 0 else { return nil }
        var row = PostgresRow(storage, index: 0)
        return try decode(&row, body)
    }

    /// A field that can't be decoded is a fault of the statement or of its reader, so the failure names it.
    private func decode<Value>(
        _ row: inout PostgresRow,
        _ body: (inout PostgresRow) throws(PostgresError) -> Value
    ) throws(PostgresError) -> Value {
        do throws(PostgresError) {
            return try body(&row)
        } catch {
            throw error.statement == nil ? error.with(statement: statement?.text) : error
        }
    }
}

/// `@unchecked Sendable`: a `PGresult` that was handed out is never changed; libpq documents it as safe to read.
final class ResultStorage: @unchecked Sendable {
    let handle: OpaquePointer
    let rowCount: Int
    let columnCount: Int

    init(_ handle: OpaquePointer) {
        self.handle = handle
        rowCount = Int(PQntuples(handle))
        columnCount = Int(PQnfields(handle))
    }

    deinit {
        PQclear(handle)
    }

    func field(row: Int, column: Int) -> PostgresField {
        let row = Int32(truncatingIfNeeded: row)
        let column = Int32(truncatingIfNeeded: column)
        let type = PostgresType(rawValue: PQftype(handle, column))
        if PQgetisnull(handle, row, column) != 0 {
            return PostgresField(bytes: nil, type: type)
        }
        let length = Int(PQgetlength(handle, row, column))
        let bytes = UnsafeRawBufferPointer(start: PQgetvalue(handle, row, column), count: length)
        return PostgresField(bytes: bytes, type: type)
    }

    func columnName(_ column: Int) -> String {
        PQfname(handle, Int32(truncatingIfNeeded: column)).map { String(cString: $0) } ?? "?"
    }
}
