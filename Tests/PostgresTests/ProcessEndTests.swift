import CLibPQ
import Glibc
import Postgres
import Testing

@Suite struct ProcessEndTests {
    /// What OpenSSL does when a process ends it does while threads of connections are ending, too.
    @Test(.timeLimit(.minutes(5)))
    func openSSLDoesNothingWhenTheProcessEnds() async throws {
        try await TestServer.withDatabase(setup: "") { url in
            _ = await #expect(processExitsWith: .success) { [url = url as String] in
                let pool = PostgresPool(PostgresConfiguration(url: url))
                try await pool.execute(.worker, "SELECT 1")
                try #require(OPENSSL_atexit { _exit(1) } == 1)
                await pool.close()
            }
        }
    }
}
