import HTTPTypes
import Postgres
import Web

/// Whether requests can be served: the database answers and its schema is the one this program was built for.
struct Readiness: Sendable {
    let pool: PostgresPool

    func check() async throws {
        guard try await Migrations.areCurrent(pool) else {
            throw Problem(
                .serviceUnavailable,
                code: "not_ready",
                detail: "The database's schema is not the one of this program. Run 'turnpike migrate'.",
                headers: [.retryAfter: "5"]
            )
        }
    }
}
