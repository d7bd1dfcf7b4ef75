import Synchronization
import Testing

@testable import Postgres

private struct Refusal: Error, Equatable {}

@Suite struct TransactionTests {
    private static let ledger =
        "CREATE TABLE entry (id bigint PRIMARY KEY, note text, CONSTRAINT entry_id CHECK (id < 100))"

    private func count(_ pool: PostgresPool) async throws -> Int64? {
        try await pool.query(.interactive, "SELECT count(*) FROM entry") { row throws(PostgresError) in
            try row.next(Int64.self)
        }.first
    }

    @Test func aTransactionCommitsWhatItsBodyDid() async throws {
        try await TestServer.withPool(setup: Self.ledger) { pool in
            let affected = try await pool.transaction(.ingest) { transaction in
                transaction.enqueue("INSERT INTO entry (id) VALUES (\(Int64(1)))")
                let affected = try transaction.execute(
                    "INSERT INTO entry (id) SELECT * FROM unnest(\([Int64(2), 3, 4]))"
                )
                transaction.enqueue("INSERT INTO entry (id) VALUES (\(Int64(5)))")
                return affected
            }
            #expect(affected == 3)
            #expect(try await count(pool) == 5)
        }
    }

    @Test func whatWaitsForTheCommitIsDoneAfterItAndOnlyThen() async throws {
        let done = Mutex<[String]>([])
        try await TestServer.withPool(setup: Self.ledger) { pool in
            try await pool.transaction(.ingest) { transaction in
                transaction.afterCommit { done.withLock { $0.append("stored") } }
                _ = try transaction.execute("INSERT INTO entry (id) VALUES (1)")
                done.withLock { $0.append("body") }
            }
            _ = try? await pool.transaction(.ingest) { transaction in
                transaction.afterCommit { done.withLock { $0.append("thrown") } }
                _ = try transaction.execute("INSERT INTO entry (id) VALUES (2)")
                throw Refusal()
            }
            _ = try? await pool.transaction(.ingest) { transaction in
                transaction.afterCommit { done.withLock { $0.append("failed at its commit") } }
                transaction.enqueue("INSERT INTO entry (id) VALUES (1)")
            }
            try await pool.transaction(.ingest) { transaction in
                _ = try transaction.execute("INSERT INTO entry (id) VALUES (3)")
            }
        }
        #expect(done.withLock { $0 } == ["body", "stored"])
    }

    @Test func aBodysErrorIsRethrownAfterARollback() async throws {
        try await TestServer.withPool(setup: Self.ledger) { pool in
            await #expect(throws: Refusal.self) {
                try await pool.transaction(.ingest) { transaction in
                    try transaction.execute("INSERT INTO entry (id) VALUES (1)")
                    throw Refusal()
                }
            }
            let stored = try await count(pool)
            #expect(stored == 0)
        }
    }

    @Test func aStatementsFailureNamesStateConstraintAndStatement() async throws {
        try await TestServer.withPool(setup: Self.ledger) { pool in
            let error = try await failure {
                try await pool.transaction(.ingest) { transaction in
                    _ = try transaction.execute("INSERT INTO entry (id) VALUES (\(Int64(100)))")
                }
            }
            #expect(error.kind == .server)
            #expect(error.sqlState == .checkViolation)
            #expect(error.constraint == "entry_id")
            #expect(error.statement == "INSERT INTO entry (id) VALUES ($1)")
            #expect(!error.outcomeUnknown && !error.isRetryable && !error.isUnavailable)
        }
    }

    @Test func aSwallowedFailureStillFailsTheTransaction() async throws {
        try await TestServer.withPool(setup: Self.ledger) { pool in
            let error = try await failure {
                try await pool.transaction(.ingest) { transaction in
                    try transaction.execute("INSERT INTO entry (id) VALUES (1)")
                    _ = try? transaction.execute("INSERT INTO entry (id) VALUES (1)")
                    _ = try? transaction.execute("INSERT INTO entry (id) VALUES (2)")
                }
            }
            #expect(error.sqlState == .uniqueViolation)
            #expect(try await count(pool) == 0)
        }
    }

    @Test func anEnqueuedFailureFailsTheNextRoundTrip() async throws {
        try await TestServer.withPool(setup: Self.ledger) { pool in
            let error = try await failure {
                try await pool.transaction(.ingest) { transaction in
                    transaction.enqueue("INSERT INTO entry (id) VALUES (\(Int64(200)))")
                    try transaction.execute("INSERT INTO entry (id) VALUES (1)")
                    Issue.record("the round trip must fail")
                }
            }
            #expect(error.statement == "INSERT INTO entry (id) VALUES ($1)")
            #expect(try await count(pool) == 0)
        }
    }

    @Test func anEnqueuedFailureFailsTheCommit() async throws {
        try await TestServer.withPool(setup: Self.ledger) { pool in
            let error = try await failure {
                try await pool.transaction(.ingest) { transaction in
                    try transaction.execute("INSERT INTO entry (id) VALUES (1)")
                    transaction.enqueue("INSERT INTO entry (id) VALUES (\(Int64(200)))")
                    transaction.enqueue("INSERT INTO entry (id) VALUES (2)")
                }
            }
            #expect(error.sqlState == .checkViolation && !error.outcomeUnknown)
            #expect(try await count(pool) == 0)
        }
    }

    @Test func aDeferredConstraintFailsTheCommit() async throws {
        let setup = """
            CREATE TABLE entry (id bigint CONSTRAINT entry_once UNIQUE DEFERRABLE INITIALLY DEFERRED);
            """
        try await TestServer.withPool(setup: setup) { pool in
            let inTransaction = try await failure {
                try await pool.transaction(.ingest) { transaction in
                    _ = try transaction.execute("INSERT INTO entry VALUES (1), (1)")
                }
            }
            #expect(inTransaction.constraint == "entry_once")
            // The statement succeeds; the transaction around it fails at the Sync.
            let alone = try await failure { try await pool.execute(.ingest, "INSERT INTO entry VALUES (1), (1)") }
            #expect(alone.constraint == "entry_once" && !alone.outcomeUnknown)
            let scoped = try await failure {
                try await pool.execute(.ingest, as: .tenant(1), "INSERT INTO entry VALUES (1), (1)")
            }
            #expect(scoped.constraint == "entry_once")
            #expect(try await count(pool) == 0)
        }
    }

    @Test func aStatementThatEndsTheTransactionIsAnError() async throws {
        try await TestServer.withPool(setup: Self.ledger) { pool in
            let error = try await failure {
                try await pool.transaction(.ingest) { transaction in
                    try transaction.execute("INSERT INTO entry (id) VALUES (1)")
                    try transaction.execute("ROLLBACK")
                }
            }
            #expect(error.sqlState == .noActiveTransaction)
            #expect(try await count(pool) == 0)
        }
    }

    @Test func theCommitOfAFailedTransactionIsRecognisedByItsTag() async throws {
        try await TestServer.withDatabase { url in
            let error = try await failure {
                try await DedicatedThread.run("test") {
                    let wire = try Wire(PostgresConfiguration(url: url), cancellation: CancelSwitch())
                    wire.begin(.service, ticket: CancelTicket())
                    _ = try wire.roundTrip(["SELECT 1"])
                    // Behind the transaction's back, so that nothing but the tag can tell.
                    wire.pipeline.sendUnnamed("SELECT 1/0")
                    _ = try wire.pipeline.finish()
                    try wire.commit()
                }
            }
            #expect(error.sqlState == .inFailedTransaction)
        }
    }

    @Test func anEmptyTransactionSendsNothing() async throws {
        try await TestServer.withPool { pool in
            let answer = try await pool.transaction(.interactive) { _ in 7 }
            #expect(answer == 7)
        }
    }

    @Test func pipelinedStatementsAnswerInOrder() async throws {
        try await TestServer.withPool { pool in
            let answers = try await pool.transaction(.interactive) { transaction in
                let results = try transaction.pipeline((0..<50).map { "SELECT \(Int64($0))" })
                return try results.map { result throws(PostgresError) in
                    try result.first { row throws(PostgresError) in try row.next(Int64.self) }
                }
            }
            #expect(answers == (0..<50).map { Int64($0) })
        }
    }

    @Test func aTransactionMayBeUsedInClosuresThatDoNotEscape() async throws {
        try await TestServer.withPool { pool in
            let numbers = try await pool.transaction(.interactive) { transaction in
                try (1...3).map { number in
                    try transaction.first("SELECT \(Int64(number))") { row throws(PostgresError) in
                        try row.next(Int64.self)
                    }
                }
            }
            #expect(numbers == [1, 2, 3])
        }
    }

    @Test func pagesReadALargeResultPieceByPiece() async throws {
        try await TestServer.withPool { pool in
            let sizes = try await pool.transaction(.worker) { transaction in
                var sizes: [Int] = []
                var expected: Int64 = 1
                try transaction.pages(of: 1_000, "SELECT * FROM generate_series(1, \(Int64(2_500)))") {
                    row throws(PostgresError) in
                    try row.next(Int64.self)
                } _: { page in
                    for number in page {
                        #expect(number == expected)
                        expected += 1
                    }
                    sizes.append(page.count)
                }
                return sizes
            }
            #expect(sizes == [1_000, 1_000, 500])
        }
    }

    @Test func aTransactionIsReadCommittedInUTC() async throws {
        try await TestServer.withPool { pool in
            let settings = try await pool.transaction(.interactive) { transaction in
                try transaction.first(
                    """
                    SELECT current_setting('transaction_isolation'), current_setting('timezone'),
                        current_setting('statement_timeout'), current_user::text, current_setting('application_name')
                    """
                ) { row throws(PostgresError) in
                    [
                        try row.next(String.self), try row.next(String.self), try row.next(String.self),
                        try row.next(String.self), try row.next(String.self),
                    ]
                }
            }
            #expect(settings == ["read committed", "UTC", "10s", "turnpike_service", "turnpike interactive"])
        }
    }
}
