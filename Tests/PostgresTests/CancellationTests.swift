import Postgres
import Synchronization
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(15))) struct CancellationTests {
    private static func one(_ configuration: inout PostgresConfiguration) {
        configuration.interactive.connections = 1
    }

    @Test func aCancelledTaskEndsItsStatementEarly() async throws {
        try await TestServer.withPool(configure: Self.one) { pool in
            let error = try await failure {
                try await withThrowingTaskGroup { group in
                    group.addTask {
                        try await pool.transaction(.interactive) { transaction in
                            _ = try transaction.execute("SELECT pg_sleep(8)")
                        }
                    }
                    try await eventually("the connection is in use") { pool.statistics(of: .interactive).inUse == 1 }
                    group.cancelAll()
                    try await group.next()
                }
            }
            #expect(error.kind == .cancelled)
            let affected = try await pool.execute(.interactive, "SELECT 1")
            #expect(affected == 1)
        }
    }

    /// Cancels at every moment of a statement's life. What the next lease runs on the same connection is never hit.
    @Test func aCancelNeverHitsALaterStatement() async throws {
        try await TestServer.withPool(configure: Self.one) { pool in
            var generator = SeededGenerator(seed: 6)
            var cancelled = 0
            for _ in 0..<400 {
                let pause = Int.random(in: 0...1_200, using: &generator)
                let task = Task {
                    try await pool.transaction(.interactive) { transaction in
                        _ = try transaction.execute("SELECT pg_sleep(0.0005)")
                        _ = try transaction.execute("SELECT pg_sleep(0.0002)")
                    }
                }
                let deadline = ContinuousClock.now + .microseconds(pause)
                while ContinuousClock.now < deadline { await Task.yield() }
                task.cancel()
                let innocent = try await pool.query(.interactive, "SELECT 1::bigint, pg_sleep(0.0005)::text") {
                    row throws(PostgresError) in try row.next(Int64.self)
                }
                #expect(innocent == [1])
                do {
                    try await task.value
                } catch let error as PostgresError {
                    #expect(error.kind == .cancelled)
                    cancelled += 1
                }
            }
            // Otherwise nothing was put to the test.
            #expect(cancelled > 40 && cancelled < 400, "\(cancelled) of 400 were cancelled")
        }
    }

    @Test func aTaskCancelledBeforehandSendsNothing() async throws {
        try await TestServer.withPool(configure: Self.one) { pool in
            let ran = Atomic(false)
            let task = Task {
                await eventuallyCancelled()
                try await pool.transaction(.interactive) { _ in ran.store(true, ordering: .relaxed) }
            }
            task.cancel()
            let error = try await failure { try await task.value }
            #expect(error.kind == .cancelled && !ran.load(ordering: .relaxed))
        }
    }

    @Test func aCancellationBetweenTwoStatementsStopsTheTransaction() async throws {
        try await TestServer.withPool(configure: Self.one) { pool in
            let reached = Atomic(false)
            let released = Atomic(false)
            let task = Task {
                try await pool.transaction(.interactive) { transaction in
                    _ = try transaction.execute("SELECT 1")
                    reached.store(true, ordering: .releasing)
                    while !released.load(ordering: .acquiring) {}
                    _ = try transaction.execute("SELECT 2")
                    Issue.record("the second statement must not run")
                }
            }
            try await eventually("the body runs") { reached.load(ordering: .acquiring) }
            task.cancel()
            released.store(true, ordering: .releasing)
            let error = try await failure { try await task.value }
            #expect(error.kind == .cancelled)
        }
    }

    @Test func aStatementThatTakesTooLongTimesOut() async throws {
        try await TestServer.withPool(configure: { $0.statementTimeoutMilliseconds = 50 }) { pool in
            let error = try await failure { try await pool.execute(.interactive, "SELECT pg_sleep(5)") }
            #expect(error.kind == .timeout && error.sqlState == .queryCanceled && !error.outcomeUnknown)
            let affected = try await pool.execute(.interactive, "SELECT 1")
            #expect(affected == 1)
        }
    }

    @Test func aLaneMayHaveATimeoutOfItsOwn() async throws {
        try await TestServer.withPool(configure: { $0.worker.statementTimeoutMilliseconds = 40 }) { pool in
            let error = try await failure { try await pool.execute(.worker, "SELECT pg_sleep(5)") }
            #expect(error.kind == .timeout)
            try await pool.execute(.interactive, "SELECT pg_sleep(0.06)")
        }
    }

    private func eventuallyCancelled() async {
        while !Task.isCancelled { await Task.yield() }
    }
}
