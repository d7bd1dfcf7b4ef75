import Postgres
import Testing

@Suite struct DatabaseURLTests {
    @Test(arguments: [
        "postgres://u:hunter%zz/horse@127.0.0.1:1/d", "postgres://u:hunter%2/horse@127.0.0.1:1/d",
        "postgres://u:hunter/horse%25@127.0.0.1:1/d", "postgresql://u:hunter@horse@127.0.0.1:1/d",
        "host=127.0.0.1 port=1 password=hunter horse",
    ])
    func noPartOfAPasswordIsInTheComplaint(url: String) async throws {
        let configuration = PostgresConfiguration(url: url)
        #expect(!configuration.hasValidURL)
        let pool = PostgresPool(configuration)
        let error = try await failure { try await pool.execute(.ingest, "SELECT 1") }
        await pool.close()
        #expect(error.kind == .connection)
        #expect(error.message == "the database URL is not a valid connection string")
        for text in [error.description, String(reflecting: error), error.detail ?? "", "\(configuration)"] {
            #expect(!text.contains("hunter") && !text.contains("horse"))
        }
    }

    @Test(arguments: [
        "postgres://u:p%2Fq%25@h:5432/d", "postgres://h", "postgresql://u@h1:1,h2:2/d?sslmode=disable",
        "postgres:///d?host=%2Ftmp%2Fa@b", "host=/tmp user=u", "postgres://u@[::1]:5432/d",
    ])
    func whatLibpqReadsIsAccepted(url: String) {
        #expect(PostgresConfiguration(url: url).hasValidURL)
    }
}
