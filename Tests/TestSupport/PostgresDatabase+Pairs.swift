package import Postgres

extension PostgresDatabase {
    /// Rows of two texts, read by the login role on a connection made for it.
    package static func pairs(_ statement: SQL, at url: String) async throws -> [(String, String)] {
        let pool = PostgresPool(PostgresConfiguration(url: url).asOwner(), logger: .silent)
        let rows = try await pool.query(.worker, statement) { row throws(PostgresError) in
            (try row.next(String.self), try row.next(String.self))
        }
        await pool.close()
        return rows
    }
}
