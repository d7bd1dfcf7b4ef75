package import Postgres

extension PostgresPool {
    /// Runs the body with a pool that is made for it.
    package static func using<Result>(
        _ configuration: PostgresConfiguration,
        _ body: (PostgresPool) async throws -> Result
    ) async throws -> Result {
        let pool = PostgresPool(configuration, logger: .silent)
        do {
            let result = try await body(pool)
            await pool.close()
            return result
        } catch {
            await pool.close()
            throw error
        }
    }
}

extension PostgresDatabase {
    /// Runs the body with a pool of the login role's, made for it.
    package static func asOwner<Result>(
        at url: String,
        _ body: (PostgresPool) async throws -> Result
    ) async throws -> Result {
        try await PostgresPool.using(PostgresConfiguration(url: url).asOwner(), body)
    }

    /// Rows of two texts, read by the login role.
    package static func pairs(_ statement: SQL, at url: String) async throws -> [(String, String)] {
        try await asOwner(at: url) { pool in
            try await pool.query(.worker, statement) { row throws(PostgresError) in
                (try row.next(String.self), try row.next(String.self))
            }
        }
    }
}
