import Postgres
import TestSupport
import Testing

/// Counters that hold so much that an ordinary request could make them overflow.
@Suite(.timeLimit(.minutes(15))) struct LargeCounterTests {
    @Test func replicasAreToldOnceThatATenantHasOne() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            let configuration = PostgresConfiguration(url: server.database.url)
            var notices = PostgresListener(configuration, channels: ["turnpike_catalog"]).makeAsyncIterator()
            #expect(try await notices.next() == .reconnected)
            for id in ["1", "2", "3"] {
                try await server.ingest(SentEvent(id, data: #"{"seconds":200000000000000000000}"#))
            }
            try await server.withPool { pool in
                _ = try await pool.execute(.worker, "SELECT pg_notify('turnpike_catalog', 'end')")
            }
            var told = 0
            while case .notification(_, let payload) = try await notices.next(), payload != "end" {
                #expect(payload.hasPrefix("tenant:"))
                told += 1
            }
            #expect(told == 1)
            #expect(try await server.differences() == [])
        }
    }
}
