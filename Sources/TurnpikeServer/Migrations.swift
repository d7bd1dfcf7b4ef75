package import Logging
import Postgres

/// Bringing the schema to where this program expects it.
package enum Migrations {
    package static func migrate(_ configuration: Configuration, logger: Logger) async throws -> [String] {
        for m in EmbeddedFiles.migrations {
            try await PostgresDatabase.run("BEGIN;" + m.sql + ";COMMIT", at: configuration.migrationURL)
        }
        return []
    }
    package static func status(_ configuration: Configuration, logger: Logger) async throws -> [String] { [] }
    static func areCurrent(_ pool: PostgresPool) async throws -> Bool {
        try await !pool.query(.interactive, "SELECT 1") { row throws(PostgresError) in try row.next(Int32.self) }.isEmpty
    }
}
