import Synchronization

/// One connection: an actor whose executor is a thread of its own, because libpq blocks.
///
/// It connects when it is first used and again after the connection was lost. A transaction's body is synchronous and
/// runs on this thread, so two transactions can't interleave and none can be left half-way. The pool hands a connection
/// to one caller at a time.
package actor PostgresConnection {
    private let executor: ThreadExecutor
    private let configuration: PostgresConfiguration
    private let gate: ReconnectGate
    private nonisolated let cancellation = CancelSwitch()
    private var wire: Wire?

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// A connection of its own, outside any pool. Throws when there is no thread for it; it connects later.
    package init(_ configuration: PostgresConfiguration, name: String = "postgres") throws(PostgresError) {
        try self.init(configuration, name: name, gate: ReconnectGate())
    }

    init(_ configuration: PostgresConfiguration, name: String, gate: ReconnectGate) throws(PostgresError) {
        executor = try ThreadExecutor(name: name)
        self.configuration = configuration
        self.gate = gate
    }

    /// Runs `body` in a transaction and commits. When the body throws, the transaction is rolled back and the body's
    /// error rethrown; failures of the driver are ``PostgresError``. Cancelling the task cancels the running statement.
    package nonisolated func transaction<R: Sendable>(
        as scope: PostgresScope = .service,
        _ body: @Sendable (borrowing Transaction) throws -> R
    ) async throws -> R {
        let ticket = CancelTicket()
        return try await withTaskCancellationHandler {
            try await perform(scope, ticket, body)
        } onCancel: {
            cancellation.cancel(ticket)
        }
    }

    /// Runs transactions on each other's heels: while COMMIT is on its way, the next one's first statements are sent.
    /// Behind a COMMIT that goes with statements of which the results are wanted, they are sent when those have come.
    ///
    /// All of it happens on the connection's thread, so nothing that is passed may wait for anything. It ends when
    /// there is no more work, or something failed, and the last COMMIT was answered.
    /// - Parameters:
    ///   - mayGoOn: whether more may be taken after the first piece.
    ///   - next: takes the next piece of work.
    ///   - body: does it in a transaction, as in `transaction`, and says what goes with COMMIT.
    ///   - done: told of each piece that is committed.
    /// - Returns: the pieces that are not, and those whose results could not be read: what was taken is either told of
    ///   or returned. What was begun behind a piece that fails may fail with it.
    /// - Throws: `PostgresError` when it can't connect; then no work was taken.
    package nonisolated func chain<Work: Sendable, R: Sendable>(
        while mayGoOn: @Sendable () -> Bool,
        next: @Sendable () -> Work?,
        _ body: @Sendable (Work, borrowing Transaction) throws -> Commit<R>,
        done: @escaping @Sendable (Work, R) -> Void
    ) async throws(PostgresError) -> [(work: Work, error: any Error)] {
        try await performChain(mayGoOn, next, body, done)
    }

    /// Runs one statement in a transaction of its own, in one round trip, and passes its result on.
    package nonisolated func query<R: Sendable>(
        as scope: PostgresScope = .service,
        _ statement: SQL,
        _ read: @Sendable (PostgresResult) throws(PostgresError) -> R
    ) async throws -> R {
        let ticket = CancelTicket()
        return try await withTaskCancellationHandler {
            try await perform(scope, ticket, statement, read)
        } onCancel: {
            cancellation.cancel(ticket)
        }
    }

    /// Connects now, so that the first request needn't wait for it.
    package func connect() throws(PostgresError) {
        _ = try readyWire()
    }

    /// Closes the connection; the next use opens it again.
    package func disconnect() {
        wire = nil
        cancellation.retarget(nil)
    }

    private func perform<R: Sendable>(
        _ scope: PostgresScope,
        _ ticket: CancelTicket,
        _ body: @Sendable (borrowing Transaction) throws -> R
    ) throws -> R {
        let wire = try readyWire()
        wire.begin(scope, ticket: ticket)
        do {
            let result = try body(Transaction(wire: wire))
            try wire.commit()
            wire.runAfterwards()
            return result
        } catch {
            leave(wire, after: error)
            throw error
        }
    }

    private func performChain<Work: Sendable, R: Sendable>(
        _ mayGoOn: @Sendable () -> Bool,
        _ next: @Sendable () -> Work?,
        _ body: @Sendable (Work, borrowing Transaction) throws -> Commit<R>,
        _ done: @escaping @Sendable (Work, R) -> Void
    ) throws(PostgresError) -> [(work: Work, error: any Error)] {
        let wire = try readyWire()
        var failures: [(work: Work, error: any Error)] = []
        var isFirst = true
        while true {
            wire.awaitResults()
            guard failures.isEmpty, isFirst || mayGoOn(), let work = next() else {
                guard wire.isCommitting else { break }
                // More may have come in the meantime.
                wire.awaitCommit()
                continue
            }
            isFirst = false
            wire.begin(.service, ticket: CancelTicket())
            do {
                let commit = try body(work, Transaction(wire: wire))
                try wire.commitLater(with: commit.statements) { outcome in
                    do {
                        done(work, try commit.read(try outcome.get()))
                    } catch {
                        failures.append((work, error))
                    }
                }
            } catch {
                leave(wire)
                failures.append((work, error))
            }
        }
        leave(wire, after: failures.last?.error)
        return failures
    }

    private func perform<R: Sendable>(
        _ scope: PostgresScope,
        _ ticket: CancelTicket,
        _ statement: SQL,
        _ read: @Sendable (PostgresResult) throws(PostgresError) -> R
    ) throws(PostgresError) -> R {
        let wire = try readyWire()
        do throws(PostgresError) {
            guard let result = try wire.alone(statement, as: scope, ticket: ticket) else {
                throw PostgresError(.connection, "a statement without a result", statement: statement.text)
            }
            return try read(result)
        } catch {
            leave(wire, after: error)
            throw error
        }
    }

    /// Leaves no transaction behind before anybody else gets the connection.
    private func leave(_ wire: Wire, after error: (any Error)? = nil) {
        wire.abandon()
        if !wire.isUsable || (error as? PostgresError)?.endsSession == true {
            disconnect()
        }
    }

    private func readyWire() throws(PostgresError) -> Wire {
        if let wire, wire.isUsable {
            return wire
        }
        disconnect()
        try gate.admit()
        do throws(PostgresError) {
            let fresh = try Wire(configuration, cancellation: cancellation)
            gate.succeeded()
            wire = fresh
            return fresh
        } catch {
            gate.failed()
            throw error
        }
    }
}

/// How a piece of a chain ends.
package struct Commit<R> {
    let statements: [SQL]
    let read: ([PostgresResult]) throws -> R

    package init(_ result: R) {
        statements = []
        read = { _ in result }
    }

    /// With statements that travel with COMMIT, in one round trip. One of them that fails rolls the transaction back.
    /// - Parameter read: reads what they answered, once that is committed.
    package init(with statements: [SQL], read: @escaping ([PostgresResult]) throws -> R) {
        self.statements = statements
        self.read = read
    }
}

/// A transaction under way: READ COMMITTED, on the connection's thread.
///
/// It is lent to a synchronous body and can be neither kept nor copied nor made by anybody else, so it can't be used
/// after its end and a transaction can't be opened inside another. `BEGIN` travels with the first statement. After a
/// statement failed, every further one throws that failure, and the transaction is rolled back even if the body
/// returns.
package struct Transaction: ~Copyable {
    private let wire: Wire

    fileprivate init(wire: Wire) {
        self.wire = wire
    }

    /// Runs a statement and decodes its rows.
    package func query<R>(
        _ sql: SQL,
        _ row: (inout PostgresRow) throws(PostgresError) -> R
    ) throws(PostgresError) -> [R] {
        try result(sql).map(row)
    }

    /// Runs a statement and decodes its first row; `nil` when there is none.
    package func first<R>(
        _ sql: SQL,
        _ row: (inout PostgresRow) throws(PostgresError) -> R
    ) throws(PostgresError) -> R? {
        try result(sql).first(row)
    }

    /// Runs a statement and returns the number of rows it affected.
    @discardableResult
    package func execute(_ sql: SQL) throws(PostgresError) -> Int {
        try result(sql).affectedRows
    }

    /// From here on statements wait for each lock that others have no longer than that, and fail then
    /// (`PostgresError.isLockTimeout`).
    package func waitForLocks(atMost patience: Duration) {
        enqueue("SELECT set_config('lock_timeout', \(Self.setting(patience)), true)")
    }

    /// The same, and each of them runs no longer than `time`, whatever it waits for, and fails then
    /// (`PostgresError.Kind.timeout`); nor any longer than the connection's statements may.
    package func waitForLocks(atMost patience: Duration, runningFor time: Duration) {
        let bound = wire.pipeline.statementTimeout.map { min($0, time) } ?? time
        enqueue(
            """
            SELECT set_config('lock_timeout', \(Self.setting(patience)), true),
                set_config('statement_timeout', \(Self.setting(bound)), true)
            """
        )
    }

    /// Of nothing there would be no bound.
    private static func setting(_ time: Duration) -> String {
        let (seconds, attoseconds) = time.components
        return "\(max(1, seconds * 1_000 + attoseconds / 1_000_000_000_000_000))ms"
    }

    /// Runs statements in one round trip, none of which depends on another's result.
    @discardableResult
    package func pipeline(_ statements: [SQL]) throws(PostgresError) -> [PostgresResult] {
        try wire.roundTrip(statements)
    }

    /// Runs a statement and returns its result as it is.
    package func result(_ sql: SQL) throws(PostgresError) -> PostgresResult {
        guard let result = try wire.roundTrip([sql]).first else {
            throw PostgresError(.connection, "a statement without a result", statement: sql.text)
        }
        return result
    }

    /// Takes an advisory lock until the transaction ends, or says at once that somebody else has it.
    package func tryLock(_ id: Int64) throws(PostgresError) -> Bool {
        let taken = try first("SELECT pg_try_advisory_xact_lock(\(id))") { row throws(PostgresError) in
            try row.next(Bool.self)
        }
        return taken ?? false
    }

    /// Sends a statement with the next round trip, or with COMMIT. Its failure is the failure of that; its result is
    /// discarded.
    package func enqueue(_ sql: SQL) {
        wire.enqueue(sql)
    }

    /// Runs `action` once the transaction is committed, on its connection's thread: for what must not happen unless it
    /// is, such as counting for metrics. It must not wait for anything.
    package func afterCommit(_ action: @escaping @Sendable () -> Void) {
        wire.runAfterCommit(action)
    }

    /// Reads a large result in pages through a cursor, so that only one page is in memory.
    package func pages<R>(
        of size: Int,
        _ sql: SQL,
        _ row: (inout PostgresRow) throws(PostgresError) -> R,
        _ page: ([R]) throws -> Void
    ) throws {
        precondition(size > 0, "a page has at least one row")
        let declare: SQL = "DECLARE turnpike_page NO SCROLL CURSOR FOR \(sql)"
        let fetch = SQL(trusted: "FETCH FORWARD \(size) FROM turnpike_page")
        var next = try wire.roundTrip([declare, fetch]).last
        while let current = next, current.rowCount > 0 {
            try page(current.map(row))
            next = current.rowCount < size ? nil : try result(fetch)
        }
        enqueue("CLOSE turnpike_page")
    }
}
