import Postgres
import Testing

@Suite(.timeLimit(.minutes(15))) struct PostgresListenerTests {
    @Test func notificationsArriveAfterTheMarkerOfTheConnection() async throws {
        try await TestServer.withDatabase { url in
            let listener = PostgresListener(PostgresConfiguration(url: url), channels: ["catalog", "Other"])
            let pool = PostgresPool(PostgresConfiguration(url: url))
            var heard: [PostgresNotice] = []
            for try await notice in listener {
                heard.append(notice)
                if heard.count == 1 {
                    try await pool.transaction(.worker) { transaction in
                        transaction.enqueue("SELECT pg_notify('catalog', \("version ä"))")
                        transaction.enqueue("NOTIFY \"Other\"")
                        transaction.enqueue("NOTIFY nobody")
                    }
                }
                if heard.count == 3 { break }
            }
            #expect(
                heard == [
                    .reconnected, .notification(channel: "catalog", payload: "version ä"),
                    .notification(channel: "Other", payload: ""),
                ]
            )
            await pool.close()
        }
    }

    @Test func aLostConnectionIsMadeAgainAndMarked() async throws {
        try await TestServer.withDatabase { url in
            let pool = PostgresPool(PostgresConfiguration(url: url).asOwner())
            var iterator = PostgresListener(PostgresConfiguration(url: url), channels: ["catalog"]).makeAsyncIterator()
            for round in 0..<3 {
                #expect(try await iterator.next() == .reconnected)
                try await pool.execute(.worker, "SELECT pg_notify('catalog', \(String(round)))")
                #expect(try await iterator.next() == .notification(channel: "catalog", payload: String(round)))
                let ended = try await pool.execute(
                    .worker,
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'turnpike listen'
                    """
                )
                #expect(ended == 1)
            }
            await pool.close()
        }
    }

    /// Whoever does not read it anew, but only later, still goes by it.
    @Test func whatWasHeardBeforeAConnectionWasLostIsStillTold() async throws {
        try await TestServer.withDatabase { url in
            let pool = PostgresPool(PostgresConfiguration(url: url).asOwner())
            func listener() async throws -> [Int32] {
                try await pool.query(
                    .worker,
                    """
                    SELECT pid FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'turnpike listen' AND state = 'idle'
                        AND query LIKE 'LISTEN%'
                    """
                ) { row throws(PostgresError) in try row.next(Int32.self) }
            }
            var iterator = PostgresListener(PostgresConfiguration(url: url), channels: ["catalog"]).makeAsyncIterator()
            #expect(try await iterator.next() == .reconnected)
            // Both arrive at once.
            try await pool.execute(.worker, "SELECT pg_notify('catalog', n::text) FROM generate_series(1, 2) AS n")
            #expect(try await iterator.next() == .notification(channel: "catalog", payload: "1"))
            let lost = try #require(try await listener().first)
            try await pool.execute(.worker, "SELECT pg_terminate_backend(\(lost))")
            try await eventually("it listens again") { try await listener().contains { $0 != lost } }
            #expect(try await iterator.next() == .notification(channel: "catalog", payload: "2"))
            #expect(try await iterator.next() == .reconnected)
            await pool.close()
        }
    }

    @Test func aSlowReaderIsToldToResyncInsteadOfFillingMemory() async throws {
        try await TestServer.withDatabase { url in
            let pool = PostgresPool(PostgresConfiguration(url: url))
            var iterator = PostgresListener(PostgresConfiguration(url: url), channels: ["catalog"]).makeAsyncIterator()
            #expect(try await iterator.next() == .reconnected)
            try await pool.execute(.worker, "SELECT pg_notify('catalog', n::text) FROM generate_series(1, 5000) AS n")
            var notices = 0
            var markers = 0
            while true {
                let notice = try await iterator.next()
                notices += 1
                markers += notice == .overflowed ? 1 : 0
                if notice == .notification(channel: "catalog", payload: "5000") { break }
            }
            // The reader may keep up; when it doesn't, it is told.
            #expect(notices == 5_000 || markers > 0)
            await pool.close()
        }
    }

    @Test func cancellingTheTaskEndsTheSequenceAndTheConnection() async throws {
        try await TestServer.withDatabase { url in
            let pool = PostgresPool(PostgresConfiguration(url: url).asOwner())
            func listeners() async throws -> [Int64] {
                try await pool.query(
                    .worker,
                    """
                    SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'turnpike listen'
                    """
                ) { row throws(PostgresError) in try row.next(Int64.self) }
            }
            let task = Task {
                var count = 0
                for try await _ in PostgresListener(PostgresConfiguration(url: url), channels: ["catalog"]) {
                    count += 1
                }
                return count
            }
            try await eventually("it listens") { try await listeners() == [1] }
            task.cancel()
            #expect(try await task.value <= 1)
            try await eventually("the connection is closed") { try await listeners() == [0] }
            await pool.close()
        }
    }
}
