import Foundation
import Synchronization
import Testing

@testable import Postgres

/// Transactions on each other's heels: what is told of as done is durable, and everything that is taken is told of or
/// given back, once.
@Suite struct ChainTests {
    private static let table = """
        CREATE TABLE entry (
            id bigint PRIMARY KEY, CONSTRAINT entry_id CHECK (id < 100), other bigint,
            CONSTRAINT entry_other FOREIGN KEY (other) REFERENCES entry (id) DEFERRABLE INITIALLY DEFERRED
        )
        """

    private struct Refusal: Error {}

    /// One connection, for which those who share it wait however busy the machine is.
    private static let oneConnection: @Sendable (inout PostgresConfiguration) -> Void = {
        $0.ingest.connections = 1
        $0.ingest.waitTimeoutMilliseconds = 60_000
    }

    /// Work that is taken one by one, and what became of it.
    private final class Work: Sendable {
        private let waiting: Mutex<[Int64]>
        let done = Mutex<[Int64]>([])
        /// How often nothing was done although there was something to do.
        let vain = Mutex(0)

        init(_ ids: some Sequence<Int64>) {
            waiting = Mutex(Array(ids))
        }

        var left: [Int64] { waiting.withLock { $0 } }
        var isDone: [Int64] { done.withLock { $0 } }

        func next() -> Int64? { waiting.withLock { $0.isEmpty ? nil : $0.removeFirst() } }
    }

    private func run(
        _ work: Work,
        on pool: PostgresPool,
        _ body: @escaping @Sendable (Int64, borrowing Transaction) throws -> Void = { id, transaction in
            _ = try transaction.execute("INSERT INTO entry (id) VALUES (\(id))")
        }
    ) async throws -> [(work: Int64, error: any Error)] {
        try await pool.chain(.ingest) {
            work.next()
        } _: { id, transaction in
            Commit(try body(id, transaction))
        } done: { id, _ in
            work.done.withLock { $0.append(id) }
        }
    }

    private func stored(_ pool: PostgresPool) async throws -> [Int64] {
        try await pool.query(.interactive, "SELECT id FROM entry ORDER BY id") { row throws(PostgresError) in
            try row.next(Int64.self)
        }
    }

    @Test func everythingIsCommittedInItsOrderAndToldOf() async throws {
        try await TestServer.withPool(setup: Self.table) { pool in
            let before = pool.statistics(of: .ingest).leases
            let work = Work(1...20)
            let failed = try await run(work, on: pool)
            #expect(failed.isEmpty)
            #expect(work.isDone == Array(1...20))
            #expect(try await stored(pool) == Array(1...20))
            #expect(pool.statistics(of: .ingest).leases - before == 1)
        }
    }

    /// The next one's statements go out before the answer to COMMIT is read, and an advisory lock of the transaction
    /// before is free by the time they run.
    @Test func theNextBeginsBeforeTheOneBeforeIsToldOf() async throws {
        try await TestServer.withPool(setup: Self.table) { pool in
            let work = Work(1...3)
            let doneBefore = Mutex<[Int]>([])
            let failed = try await run(work, on: pool) { id, transaction in
                doneBefore.withLock { $0.append(work.isDone.count) }
                #expect(try transaction.tryLock(7))
                _ = try transaction.execute("INSERT INTO entry (id) VALUES (\(id))")
                doneBefore.withLock { $0.append(work.isDone.count) }
            }
            #expect(failed.isEmpty)
            #expect(doneBefore.withLock { $0 } == [0, 0, 0, 1, 1, 2])
        }
    }

    @Test func whatFailsIsGivenBackAndEndsIt() async throws {
        try await TestServer.withPool(setup: Self.table) { pool in
            let thrown = Work(1...5)
            let failed = try await run(thrown, on: pool) { id, transaction in
                _ = try transaction.execute("INSERT INTO entry (id) VALUES (\(id))")
                if id == 3 { throw Refusal() }
            }
            #expect(failed.map(\.work) == [3] && failed[0].error is Refusal)
            #expect(thrown.isDone == [1, 2] && thrown.left == [4, 5])
            // A statement that fails, as the transaction's first and behind a COMMIT that is on its way.
            let refused = Work([10, 100, 11])
            let failures = try await run(refused, on: pool)
            #expect(failures.map(\.work) == [100])
            #expect((failures[0].error as? PostgresError)?.constraint == "entry_id")
            #expect(refused.isDone == [10] && refused.left == [11])
            #expect(try await stored(pool) == [1, 2, 10])
        }
    }

    @Test func aCommitThatFailsDoesNotTakeTheNextAlong() async throws {
        try await TestServer.withPool(setup: Self.table) { pool in
            let work = Work(1...4)
            let failed = try await run(work, on: pool) { id, transaction in
                let other: Int64? = id == 2 ? 50 : nil
                _ = try transaction.execute("INSERT INTO entry (id, other) VALUES (\(id), \(other))")
            }
            #expect(failed.map(\.work) == [2])
            #expect((failed[0].error as? PostgresError)?.constraint == "entry_other")
            #expect((failed[0].error as? PostgresError)?.outcomeUnknown == false)
            #expect(work.isDone == [1, 3] && work.left == [4])
            #expect(try await stored(pool) == [1, 3])
        }
    }

    /// The server keeps a transaction that failed before its COMMIT: what was begun behind it fails with it.
    @Test func aFailureOnTheWayToCommitTakesNothingHalf() async throws {
        try await TestServer.withPool(setup: Self.table) { pool in
            let work = Work([1, 100, 2, 3])
            let failed = try await run(work, on: pool) { id, transaction in
                _ = try transaction.execute("SELECT 1")
                transaction.enqueue("INSERT INTO entry (id) VALUES (\(id))")
            }
            #expect(failed.map(\.work) == [100, 2])
            #expect((failed[0].error as? PostgresError)?.constraint == "entry_id")
            #expect(work.isDone == [1] && work.left == [3])
            let again = Work([2])
            _ = try await run(again, on: pool)
            #expect(try await stored(pool) == [1, 2])
        }
    }

    /// The connection is given back without the transaction that failed.
    @Test func aFailureAtTheEndLeavesNoTransaction() async throws {
        try await TestServer.withPool(setup: Self.table, configure: Self.oneConnection) { pool in
            let work = Work([100])
            let failed = try await run(work, on: pool) { id, transaction in
                _ = try transaction.execute("SELECT 1")
                transaction.enqueue("INSERT INTO entry (id) VALUES (\(id))")
            }
            #expect(failed.map(\.work) == [100])
            #expect(try await pool.execute(.ingest, "INSERT INTO entry (id) VALUES (1)") == 1)
            #expect(try await stored(pool) == [1])
        }
    }

    @Test func whoWaitsForTheConnectionGetsItBetweenTwoPieces() async throws {
        try await TestServer.withPool(setup: Self.table, configure: Self.oneConnection) { pool in
            let work = Work(1...99)
            try await withThrowingTaskGroup(of: Void.self) { group in
                let started = AsyncStream<Void>.makeStream()
                group.addTask {
                    while !work.left.isEmpty {
                        let failed = try await run(work, on: pool) { id, transaction in
                            _ = try transaction.execute("INSERT INTO entry (id) VALUES (\(id))")
                            started.continuation.yield()
                            // The first piece goes on until somebody waits, however busy the machine.
                            for _ in 0..<3_000 where id == 1 && pool.statistics(of: .ingest).waiting == 0 {
                                _ = try transaction.execute("SELECT pg_sleep(0.01)")
                            }
                        }
                        #expect(failed.isEmpty)
                    }
                }
                for await _ in started.stream { break }
                let count = try await pool.query(.ingest, "SELECT count(*) FROM entry") { row throws(PostgresError) in
                    try row.next(Int64.self)
                }
                #expect(count[0] < 99)
                try await group.waitForAll()
            }
            #expect(work.isDone == Array(1...99))
        }
    }

    /// Each gets on with every lease of the connection, although the other waits for it all the time.
    @Test(.timeLimit(.minutes(2))) func twoChainsShareAConnection() async throws {
        try await TestServer.withPool(setup: Self.table, configure: Self.oneConnection) { pool in
            let works = [Work(1...49), Work(50...99)]
            try await withThrowingTaskGroup(of: Void.self) { group in
                for work in works {
                    group.addTask {
                        while !work.left.isEmpty {
                            let before = work.isDone.count
                            let failed = try await self.run(work, on: pool)
                            #expect(failed.isEmpty)
                            if work.isDone.count == before { work.vain.withLock { $0 += 1 } }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(works.map { $0.vain.withLock { $0 } } == [0, 0])
            #expect(try await stored(pool) == Array(1...99))
        }
    }

    @Test func whatWaitsForTheCommitIsDoneOnlyAfterIt() async throws {
        let actions = Mutex<[Int64]>([])
        try await TestServer.withPool(setup: Self.table) { pool in
            let work = Work(1...3)
            _ = try await run(work, on: pool) { id, transaction in
                transaction.afterCommit { actions.withLock { $0.append(id) } }
                let other: Int64? = id == 2 ? 50 : nil
                transaction.enqueue("INSERT INTO entry (id, other) VALUES (\(id), \(other))")
            }
        }
        #expect(actions.withLock { $0 } == [1, 3])
    }

    @Test(arguments: [false, true]) func aConnectionThatIsLostLosesNoWork(_ isLostInCommit: Bool) async throws {
        try await TestServer.withPool(setup: Self.table, configure: { $0 = $0.asOwner() }) { pool in
            let work = Work(1...6)
            let failed = try await run(work, on: pool) { id, transaction in
                _ = try transaction.execute("INSERT INTO entry (id) VALUES (\(id))")
                guard id == 3 else { return }
                if isLostInCommit {
                    transaction.enqueue("SELECT pg_terminate_backend(pg_backend_pid())")
                } else {
                    try transaction.execute("SELECT pg_terminate_backend(pg_backend_pid())")
                }
            }
            #expect(work.isDone == [1, 2])
            #expect(failed.map(\.work) == (isLostInCommit ? [3, 4] : [3]))
            #expect(failed.map { ($0.error as? PostgresError)?.kind } == failed.map { _ in .connection })
            #expect((failed[0].error as? PostgresError)?.outcomeUnknown == isLostInCommit)
            #expect(work.isDone + failed.map(\.work) + work.left == Array(1...6))
            #expect(try await stored(pool) == [1, 2])
            // The next use connects anew.
            let again = Work(4...5)
            let failures = try await run(again, on: pool)
            #expect(failures.isEmpty && again.isDone == [4, 5])
        }
    }

    /// Statements that travel with COMMIT, one by one.
    private func runInOneRoundTrip(
        _ work: Work,
        on pool: PostgresPool,
        begun: @escaping @Sendable () -> Void = {},
        statement: @escaping @Sendable (Int64) -> SQL = { "INSERT INTO entry (id) VALUES (\($0)) RETURNING id" },
        read: @escaping @Sendable (Int64) throws -> Void = { _ in }
    ) async throws -> [(work: Int64, error: any Error)] {
        try await pool.chain(.ingest) {
            work.next()
        } _: { id, transaction in
            begun()
            transaction.enqueue("SELECT 1")
            return Commit(with: [statement(id)]) { results in
                let stored = try results[0].map { row throws(PostgresError) in try row.next(Int64.self) }
                #expect(stored == [id] && results.count == 1)
                try read(id)
            }
        } done: { id, _ in
            work.done.withLock { $0.append(id) }
        }
    }

    /// The next one begins when the results have come, and is sent before they are read.
    @Test func statementsTravelWithCommit() async throws {
        try await TestServer.withPool(setup: Self.table) { pool in
            let work = Work(1...4)
            let doneBefore = Mutex<[Int]>([])
            let failed = try await runInOneRoundTrip(
                work,
                on: pool,
                begun: {
                    doneBefore.withLock { $0.append(work.isDone.count) }
                }
            )
            #expect(failed.isEmpty)
            #expect(work.isDone == [1, 2, 3, 4])
            #expect(doneBefore.withLock { $0 } == [0, 0, 1, 2])
            #expect(try await stored(pool) == [1, 2, 3, 4])
        }
    }

    @Test(arguments: ["entry_id", "entry_other"])
    func whatFailsWithItsCommitTakesNothingAlong(constraint: String) async throws {
        try await TestServer.withPool(setup: Self.table) { pool in
            let work = Work(1...4)
            let failed = try await runInOneRoundTrip(
                work,
                on: pool,
                statement: { id in
                    let stored: Int64 = id == 3 && constraint == "entry_id" ? 100 : id
                    let other: Int64? = id == 3 && constraint == "entry_other" ? 50 : nil
                    return "INSERT INTO entry (id, other) VALUES (\(stored), \(other)) RETURNING id"
                }
            )
            #expect(failed.map(\.work) == [3])
            #expect((failed[0].error as? PostgresError)?.constraint == constraint)
            #expect((failed[0].error as? PostgresError)?.outcomeUnknown == false)
            #expect(work.isDone == [1, 2] && work.left == [4])
            #expect(try await stored(pool) == [1, 2])
            #expect(try await pool.execute(.ingest, "INSERT INTO entry (id) VALUES (9)") == 1)
        }
    }

    @Test func whatCannotBeReadIsGivenBackThoughItIsCommitted() async throws {
        try await TestServer.withPool(setup: Self.table) { pool in
            let work = Work(1...3)
            let failed = try await runInOneRoundTrip(work, on: pool, read: { if $0 == 2 { throw Refusal() } })
            #expect(failed.map(\.work) == [2] && failed[0].error is Refusal)
            #expect(work.isDone == [1, 3] && work.left.isEmpty)
            #expect(try await stored(pool) == [1, 2, 3])
        }
    }

    @Test func whatIsLostWithItsCommitIsOfUnknownOutcome() async throws {
        try await TestServer.withPool(setup: Self.table, configure: { $0 = $0.asOwner() }) { pool in
            let work = Work(1...4)
            let failed = try await runInOneRoundTrip(
                work,
                on: pool,
                statement: { id in
                    """
                    INSERT INTO entry (id) VALUES (\(id))
                    RETURNING id, CASE WHEN id = 2 THEN pg_terminate_backend(pg_backend_pid()) END
                    """
                }
            )
            #expect(failed.map(\.work) == [2])
            #expect((failed[0].error as? PostgresError)?.outcomeUnknown == true)
            #expect(work.isDone == [1] && work.left == [3, 4])
            #expect(try await stored(pool) == [1])
        }
    }

    /// Both kinds on one connection: what is read later is not mixed up.
    @Test func bothKindsFollowEachOther() async throws {
        try await TestServer.withPool(setup: Self.table) { pool in
            let work = Work(1...12)
            let failed = try await pool.chain(.ingest) {
                work.next()
            } _: { id, transaction -> Commit<Int64> in
                let insertion: SQL = "INSERT INTO entry (id) VALUES (\(id)) RETURNING id"
                let read = { (row: inout PostgresRow) throws(PostgresError) in try row.next(Int64.self) }
                guard [1, 2, 5, 7, 8, 12].contains(id) else {
                    let stored = try transaction.first(insertion, read)
                    return Commit(stored ?? 0)
                }
                return Commit(with: [insertion]) { try $0[0].map(read).first ?? 0 }
            } done: { id, stored in
                #expect(stored == id)
                work.done.withLock { $0.append(id) }
            }
            #expect(failed.isEmpty)
            #expect(work.isDone == Array(1...12))
            #expect(try await stored(pool) == Array(1...12))
        }
    }

    /// A transaction that failed on the way to its COMMIT stands before one that is sent with COMMIT.
    @Test func whatTravelsWithCommitBehindAFailureIsGivenBack() async throws {
        try await TestServer.withPool(setup: Self.table) { pool in
            let work = Work([1, 100, 2, 3])
            let failed = try await pool.chain(.ingest) {
                work.next()
            } _: { id, transaction in
                let insertion: SQL = "INSERT INTO entry (id) VALUES (\(id))"
                guard id >= 100 else { return Commit(with: [insertion]) { _ in } }
                _ = try transaction.execute("SELECT 1")
                transaction.enqueue(insertion)
                return Commit(())
            } done: { id, _ in
                work.done.withLock { $0.append(id) }
            }
            #expect(failed.map(\.work) == [100, 2])
            #expect((failed[0].error as? PostgresError)?.constraint == "entry_id")
            #expect(work.isDone == [1] && work.left == [3])
            #expect(try await stored(pool) == [1])
        }
    }

    @Test func withoutAConnectionNothingIsTaken() async throws {
        let pool = PostgresPool(PostgresConfiguration(url: "postgres://nobody@127.0.0.1:1/none"))
        let work = Work(1...2)
        await #expect(throws: PostgresError.self) { _ = try await run(work, on: pool) }
        #expect(work.left == [1, 2])
        await pool.close()
    }

    @Test func whatComesWhileTheLastIsCommittedIsTakenToo() async throws {
        try await TestServer.withPool(setup: Self.table) { pool in
            let waiting = Mutex<[Int64]>([1])
            let stored = Mutex<[Int64]>([])
            let failed = try await pool.chain(.ingest) {
                waiting.withLock { $0.popLast() }
            } _: { id, transaction in
                Commit(try transaction.execute("INSERT INTO entry (id) VALUES (\(id))"))
            } done: { id, _ in
                stored.withLock { $0.append(id) }
                if id < 5 { waiting.withLock { $0.append(id + 1) } }
            }
            #expect(failed.isEmpty)
            #expect(stored.withLock { $0 } == [1, 2, 3, 4, 5])
        }
    }
}
