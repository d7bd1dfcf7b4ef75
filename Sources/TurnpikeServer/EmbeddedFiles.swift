import CEmbedded
package import Postgres

/// The files that the program carries with it, so that one binary and a PostgreSQL are all it takes. See ADR 0004.
package enum EmbeddedFiles {
    /// Every migration, in order, under its file's name without `.sql`.
    package static let migrations: [Migration] = (0..<embedded_migration_count()).map { index in
        let file = embedded_migration(index)
        return Migration(
            name: String(String(cString: file.name).dropLast(".sql".count)),
            sql: String(decoding: bytes(of: file), as: UTF8.self)
        )
    }

    /// The contract, as it stands in the repository.
    package static let openAPI: [UInt8] = bytes(of: embedded_openapi())

    private static func bytes(of file: embedded_file) -> [UInt8] {
        Array(UnsafeBufferPointer(start: file.bytes, count: file.count))
    }
}
