import Foundation
import Glibc
import Postgres
import Testing

@Suite struct ConnectionLossTests {
    private static let table = "CREATE TABLE entry (id bigint PRIMARY KEY)"

    /// Runs `body` with a pool behind a proxy, and a second pool that goes straight to the server.
    private func withProxy(
        _ body: (_ proxied: PostgresPool, _ direct: PostgresPool, CuttingProxy) async throws -> Void
    ) async throws {
        try await TestServer.withDatabase(setup: Self.table) { url in
            let components = try #require(URLComponents(string: url))
            let proxy = CuttingProxy(targetPort: UInt16(try #require(components.port)))
            var through = components
            through.host = "127.0.0.1"
            through.port = Int(proxy.port)
            through.query = "sslmode=disable&gssencmode=disable"
            let proxied = PostgresPool(PostgresConfiguration(url: try #require(through.string)))
            let direct = PostgresPool(PostgresConfiguration(url: url))
            try await body(proxied, direct, proxy)
            await proxied.close()
            await direct.close()
            proxy.close()
        }
    }

    private func count(_ pool: PostgresPool) async throws -> Int64 {
        let counts = try await pool.query(.worker, "SELECT count(*) FROM entry") { row throws(PostgresError) in
            try row.next(Int64.self)
        }
        return counts.first ?? -1
    }

    @Test(.timeLimit(.minutes(5)))
    func aCancelThatNobodyAnswersCostsItsConnectionAndNoMore() async throws {
        try await withProxy { proxied, _, proxy in
            try await proxied.execute(.worker, "SELECT 1")
            proxy.saysNothing(true)
            let task = Task {
                try await proxied.transaction(.worker) { transaction in
                    _ = try transaction.execute("SELECT pg_sleep(3)")
                    _ = try transaction.execute("INSERT INTO entry VALUES (1)")
                }
            }
            try await eventually("the connection is in use") { proxied.statistics(of: .worker).inUse == 1 }
            task.cancel()
            _ = try await failure { try await task.value }
            proxy.saysNothing(false)
            let stored = try await count(proxied)
            #expect(stored == 0)
        }
    }

    @Test func anAnswerToCommitThatIsLostLeavesTheOutcomeUnknown() async throws {
        try await withProxy { proxied, direct, proxy in
            try await proxied.execute(.ingest, "SELECT 1")
            proxy.cut(.afterAnswer, at: "commit")
            let error = try await failure {
                try await proxied.transaction(.ingest) { transaction in
                    _ = try transaction.execute("INSERT INTO entry VALUES (1)")
                }
            }
            #expect(error.kind == .connection && error.outcomeUnknown && error.isRetryable && error.isUnavailable)
            try await eventually("the commit happened all the same") { try await count(direct) == 1 }
            let stored = try await count(proxied)
            #expect(stored == 1)
        }
    }

    @Test func aCommitThatNeverArrivesLeavesTheOutcomeUnknownToo() async throws {
        try await withProxy { proxied, direct, proxy in
            try await proxied.execute(.ingest, "SELECT 1")
            proxy.cut(.before, at: "commit")
            let error = try await failure {
                try await proxied.transaction(.ingest) { transaction in
                    _ = try transaction.execute("INSERT INTO entry VALUES (1)")
                }
            }
            #expect(error.kind == .connection && error.outcomeUnknown)
            let stored = try await count(direct)
            #expect(stored == 0)
        }
    }

    @Test func aLineCutBeforeCommitIsAKnownFailure() async throws {
        try await withProxy { proxied, direct, proxy in
            try await proxied.execute(.ingest, "SELECT 1")
            proxy.cut(.before, at: "INSERT")
            let error = try await failure {
                try await proxied.transaction(.ingest) { transaction in
                    _ = try transaction.execute("INSERT INTO entry VALUES (1)")
                    Issue.record("the statement can't have succeeded")
                }
            }
            #expect(error.kind == .connection && !error.outcomeUnknown)
            let stored = try await count(direct)
            #expect(stored == 0)
        }
    }

    @Test func aStatementAloneWhoseAnswerIsLostLeavesTheOutcomeUnknown() async throws {
        try await withProxy { proxied, direct, proxy in
            try await proxied.execute(.ingest, "SELECT 1")
            proxy.cut(.afterAnswer, at: "INSERT")
            let error = try await failure { try await proxied.execute(.ingest, "INSERT INTO entry VALUES (1)") }
            #expect(error.kind == .connection && error.outcomeUnknown)
            try await eventually("the statement took effect") { try await count(direct) == 1 }
        }
    }

    @Test func idempotentWorkIsDoneAgainOnANewConnection() async throws {
        try await withProxy { proxied, direct, proxy in
            try await proxied.execute(.ingest, "SELECT 1")
            proxy.cut(.afterAnswer, at: "commit")
            try await proxied.transaction(.ingest, retries: .idempotent(attempts: 5)) { transaction in
                _ = try transaction.execute("INSERT INTO entry VALUES (1) ON CONFLICT DO NOTHING")
            }
            let stored = try await count(direct)
            #expect(stored == 1)
        }
    }

    @Test func anUnknownOutcomeIsRememberedWhenTheRetriesFindTheServerAway() async throws {
        try await withProxy { proxied, direct, proxy in
            try await proxied.execute(.ingest, "SELECT 1")
            proxy.cut(.afterAnswer, at: "commit", forGood: true)
            let error = try await failure {
                try await proxied.transaction(.ingest, retries: .idempotent(attempts: 3)) { transaction in
                    _ = try transaction.execute("INSERT INTO entry VALUES (1) ON CONFLICT DO NOTHING")
                }
            }
            #expect(error.kind == .connection && error.outcomeUnknown)
            try await eventually("the first attempt's commit happened") { try await count(direct) == 1 }
        }
    }

    @Test func roundTripsAreAsFewAsPromised() async throws {
        try await withProxy { proxied, _, proxy in
            func trips(_ work: () async throws -> Void) async throws -> Int {
                let before = proxy.syncs
                try await work()
                return proxy.syncs - before
            }
            try await proxied.withConnection(.interactive) { try await $0.connect() }
            // Preparation is no round trip of its own, and neither are BEGIN and the tenant's role.
            for _ in 0..<2 {
                let scoped = try await trips { try await proxied.execute(.interactive, as: .tenant(7), "SELECT 1") }
                #expect(scoped == 1)
                let plain = try await trips { try await proxied.execute(.interactive, "SELECT 1") }
                #expect(plain == 1)
                let transaction = try await trips {
                    try await proxied.transaction(.interactive, as: .tenant(7)) { transaction in
                        transaction.enqueue("SELECT 2")
                        _ = try transaction.execute("SELECT 3")
                        transaction.enqueue("SELECT 4")
                    }
                }
                #expect(transaction == 2)
                let queued = try await trips {
                    try await proxied.transaction(.interactive) { transaction in transaction.enqueue("SELECT 5") }
                }
                #expect(queued == 1)
                let empty = try await trips { try await proxied.transaction(.interactive) { _ in } }
                #expect(empty == 0)
            }
        }
    }
}

@Suite struct ServerCrashTests {
    @Test func aServerKilledInMidQueryIsAnErrorAndTheNextConnectionWorks() async throws {
        try await TestServer.withCluster { cluster in
            let pool = PostgresPool(PostgresConfiguration(url: try cluster.url))
            let observer = PostgresPool(PostgresConfiguration(url: try cluster.url).asOwner())
            let error = try await failure {
                try await withThrowingTaskGroup { group in
                    group.addTask {
                        try await pool.transaction(.ingest) { transaction in
                            _ = try transaction.execute("SELECT pg_sleep(9)")
                        }
                    }
                    try await eventually("the statement runs") {
                        let running = try await observer.query(
                            .worker,
                            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
                        ) { row throws(PostgresError) in try row.next(Int64.self) }
                        return running == [1]
                    }
                    try cluster.kill()
                    try await group.next()
                }
            }
            #expect(error.kind == .connection && !error.outcomeUnknown && error.isUnavailable)

            let away = try await failure { try await pool.execute(.ingest, "SELECT 1") }
            #expect(away.isUnavailable)
            let alsoAway = try await failure { try await pool.execute(.interactive, "SELECT 1") }
            #expect(alsoAway.isUnavailable)

            try cluster.start(settings: ["fsync": "off"])
            try await eventually("the pool connects again") {
                do {
                    return try await pool.execute(.ingest, "SELECT 1") == 1
                } catch let error as PostgresError where error.isUnavailable {
                    return false
                }
            }
            await pool.close()
            await observer.close()
        }
    }

    @Test func aServerThatFallsSilentIsGivenUpAfterTheTimeOfOneStatement() async throws {
        try await TestServer.withCluster { cluster in
            var configuration = PostgresConfiguration(url: try cluster.url)
            configuration.statementTimeoutMilliseconds = 1_000
            let pool = PostgresPool(configuration)
            let backends = try await pool.query(.ingest, "SELECT pg_backend_pid()::bigint") {
                row throws(PostgresError) in Int32(try row.next(Int64.self))
            }
            let backend = try #require(backends.first)
            Glibc.kill(backend, SIGSTOP)
            let start = ContinuousClock.now
            let error = try await failure {
                try await pool.transaction(.ingest) { transaction in
                    _ = try transaction.pipeline(Array(repeating: "SELECT 1", count: 60))
                }
            }
            let waited = ContinuousClock.now - start
            Glibc.kill(backend, SIGCONT)
            #expect(error.kind == .connection && !error.outcomeUnknown && error.isUnavailable)
            // One second for the statement and five of grace; sixty statements are not given sixty seconds.
            #expect(waited < .seconds(40))
            await pool.close()
        }
    }

    @Test func aRestartBetweenTwoStatementsGoesUnnoticed() async throws {
        try await TestServer.withCluster { cluster in
            let pool = PostgresPool(PostgresConfiguration(url: try cluster.url))
            try await pool.execute(.ingest, "SELECT 1")
            try cluster.stop()
            try cluster.start(settings: ["fsync": "off"])
            let affected = try await pool.execute(.ingest, "SELECT 1")
            #expect(affected == 1)
            await pool.close()
        }
    }

    @Test func aSessionEndedByAnAdministratorIsReplaced() async throws {
        try await TestServer.withPool(configure: { $0 = $0.asOwner() }) { pool in
            let error = try await failure {
                try await pool.transaction(.ingest) { transaction in
                    _ = try transaction.execute("SELECT 1")
                    _ = try transaction.execute("SELECT pg_terminate_backend(pg_backend_pid())")
                }
            }
            #expect(error.kind == .connection && !error.outcomeUnknown)
            let affected = try await pool.execute(.ingest, "SELECT 1")
            #expect(affected == 1)
        }
    }
}
