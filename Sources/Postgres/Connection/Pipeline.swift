import CLibPQ
import Glibc

/// libpq's pipeline mode: messages are put together, sent with one Sync, and answered in order. More may be sent before
/// the answers to the last Sync were read.
///
/// Writing never blocks: while the socket is full, what the server answers is read, so that two full buffers can't wait
/// for each other. Used on its connection's thread only.
final class Pipeline {
    /// The driver's own statements, prepared when the connection is made.
    enum Control: String, CaseIterable {
        case begin, commit, rollback, tenantRole
    }

    /// What the server answers to a round trip.
    struct Replies {
        var results: [PostgresResult] = []
        /// The first failure; what came after it was not executed.
        var failure: PostgresError?
        /// `COMMIT`, or `ROLLBACK` when the transaction had failed.
        var commitTag: String?
    }

    /// What the next answer will be about.
    private enum Expected {
        case control(Control)
        case preparation(StatementKey, SQL)
        case statement(SQL, key: StatementKey?, isWanted: Bool)
        case deallocation(String)

        var statement: SQL? {
            if case .statement(let statement, _, _) = self { statement } else { nil }
        }

        var text: String {
            switch self {
            case .control(let control): control.rawValue
            case .preparation(_, let statement), .statement(let statement, _, _): statement.text
            case .deallocation(let name): "DEALLOCATE \(name)"
            }
        }
    }

    let session: Session
    private(set) var statements: StatementCache
    private var expected: [Expected] = []
    /// What was sent with each Sync whose answers were not read yet.
    private var rounds: [[Expected]] = []
    private var isBroken = false
    private let statementTimeoutMilliseconds: Int
    private static let graceMilliseconds = 5_000

    init(_ session: Session, _ configuration: PostgresConfiguration) throws(PostgresError) {
        self.session = session
        statements = StatementCache(limit: configuration.preparedStatementLimit)
        statementTimeoutMilliseconds = configuration.statementTimeoutMilliseconds
        guard PQsetnonblocking(session.handle, 1) == 0, PQenterPipelineMode(session.handle) == 1 else {
            throw PostgresError(.connection, session.errorMessage)
        }
    }

    /// How long each statement may run; nil where that has no bound.
    var statementTimeout: Duration? {
        statementTimeoutMilliseconds > 0 ? .milliseconds(statementTimeoutMilliseconds) : nil
    }

    var isOutsideTransaction: Bool { PQtransactionStatus(session.handle) == PQTRANS_IDLE }

    var isUsable: Bool {
        guard !isBroken, session.isUsable else { return false }
        // Between two round trips the server says nothing unless a setting changed or it goes away; then its last words
        // are followed by the end of the stream, at which consuming fails.
        var descriptor = pollfd(fd: PQsocket(session.handle), events: Int16(POLLIN), revents: 0)
        while poll(&descriptor, 1, 0) != 0 {
            guard PQconsumeInput(session.handle) == 1, session.isUsable else { return false }
        }
        return true
    }

    /// Declares the connection lost.
    func breakOff() {
        isBroken = true
    }
}

// MARK: - Sending

extension Pipeline {
    func prepareControls(tenantRole: String) throws(PostgresError) {
        let texts: [(Control, String)] = [
            (.begin, "BEGIN ISOLATION LEVEL READ COMMITTED"), (.commit, "COMMIT"), (.rollback, "ROLLBACK"),
            (.tenantRole, "SET LOCAL ROLE \(quotedIdentifier(tenantRole))"),
        ]
        for (control, text) in texts {
            noteSent(PQsendPrepare(session.handle, control.rawValue, text, 0, nil))
            expected.append(.control(control))
        }
        if let failure = try finish().failure {
            throw failure
        }
    }

    func sendControl(_ control: Control) {
        noteSent(PQsendQueryPrepared(session.handle, control.rawValue, 0, nil, nil, nil, 1))
        expected.append(.control(control))
    }

    /// Sends a statement that isn't worth preparing, because its text is never the same. It has no parameters.
    func sendUnnamed(_ statement: SQL) {
        noteSent(PQsendQueryParams(session.handle, statement.text, 0, nil, nil, nil, nil, 1))
        expected.append(.statement(statement, key: nil, isWanted: false))
    }

    /// Sends a statement, behind its preparation when this connection hasn't seen it.
    func send(_ statement: SQL, isTenantScoped: Bool, isWanted: Bool) {
        let key = StatementKey(statement, isTenantScoped: isTenantScoped)
        let name = statements.name(of: key) ?? prepare(statement, key)
        withParameters(of: statement.parameters) { count, values, lengths, formats in
            noteSent(PQsendQueryPrepared(session.handle, name, count, values, lengths, formats, 1))
        }
        expected.append(.statement(statement, key: key, isWanted: isWanted))
    }

    private func prepare(_ statement: SQL, _ key: StatementKey) -> String {
        let name = statements.insert(key)
        for stale in statements.takeDiscarded() {
            noteSent(PQsendQueryParams(session.handle, "DEALLOCATE \(stale)", 0, nil, nil, nil, nil, 1))
            expected.append(.deallocation(stale))
        }
        let types = key.types.map { Oid($0.rawValue) }
        noteSent(PQsendPrepare(session.handle, name, statement.text, Int32(types.count), types))
        expected.append(.preparation(key, statement))
        return name
    }

    /// Ends a round: whatever fails in it does not concern the next. What the socket does not take at once is sent when
    /// its answers are read.
    func sync() {
        rounds.append(expected)
        expected.removeAll(keepingCapacity: true)
        guard !isBroken else { return }
        noteSent(PQpipelineSync(session.handle))
    }

    private func noteSent(_ code: Int32) {
        if code != 1 {
            isBroken = true
        }
    }

    private func withParameters(
        of parameters: SQLParameters,
        _ body: (
            Int32, UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<Int32>?, UnsafePointer<Int32>?
        ) -> Void
    ) {
        let entries = parameters.entries
        let base = parameters.buffer.base.assumingMemoryBound(to: CChar.self)
        withUnsafeTemporaryAllocation(of: UnsafePointer<CChar>?.self, capacity: entries.count) { values in
            withUnsafeTemporaryAllocation(of: Int32.self, capacity: entries.count * 2) { numbers in
                for (index, entry) in entries.enumerated() {
                    let value = entry.length < 0 ? nil : UnsafePointer(base + entry.start)
                    values.initializeElement(at: index, to: value)
                    numbers.initializeElement(at: index, to: Int32(truncatingIfNeeded: max(0, entry.length)))
                    numbers.initializeElement(at: entries.count + index, to: 1)
                }
                let lengths = numbers.baseAddress.map { UnsafePointer($0) }
                let formats = lengths.map { $0 + entries.count }
                body(Int32(entries.count), values.baseAddress.map { UnsafePointer($0) }, lengths, formats)
            }
        }
        // libpq has copied the parameters; until then the buffer must live.
        withExtendedLifetime(parameters) {}
    }
}

// MARK: - Receiving

extension Pipeline {
    /// Sends the Sync and reads the answers.
    func finish() throws(PostgresError) -> Replies {
        sync()
        return try receiveRound()
    }

    /// Reads every answer to the oldest round that was sent. Throws when the connection is lost before its end, except
    /// that a failed statement, which decides the outcome, is reported as such.
    func receiveRound() throws(PostgresError) -> Replies {
        let items = rounds.removeFirst()
        var replies = Replies()
        do throws(PostgresError) {
            guard !isBroken else { throw lost() }
            let patience = patienceMilliseconds
            try flush(patience)
            for item in items {
                try receive(item, into: &replies, patience)
            }
            try receiveSync(into: &replies, patience)
        } catch {
            isBroken = true
            if replies.failure == nil {
                throw error
            }
        }
        return replies
    }

    private func receive(_ item: Expected, into replies: inout Replies, _ patience: Int32) throws(PostgresError) {
        guard let handle = try nextResult(patience) else { throw lost() }
        let result = PostgresResult(handle, of: item.statement)
        let status = PQresultStatus(handle)
        let isDone = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY
        if status == PGRES_FATAL_ERROR {
            let failure = PostgresError(result: handle, statement: item.text)
            // What the server says when it closes the connection tells nothing about the statement.
            guard failure.kind != .connection, session.isUsable else { throw failure.with(kind: .connection) }
            replies.failure = replies.failure ?? failure
        } else if !isDone && status != PGRES_PIPELINE_ABORTED {
            throw PostgresError(.connection, "an answer the driver can't read (COPY?)", statement: item.text)
        }
        settle(item, isDone: isDone, result, handle, &replies)
        while try nextResult(patience) != nil {
            throw PostgresError(.connection, "more than one result for a statement", statement: item.text)
        }
    }

    private func settle(
        _ item: Expected,
        isDone: Bool,
        _ result: PostgresResult,
        _ handle: OpaquePointer,
        _ replies: inout Replies
    ) {
        switch item {
        case .control(let control):
            if isDone && control == .commit {
                replies.commitTag = PQcmdStatus(handle).map { String(cString: $0) }
            }
        case .preparation(let key, _):
            if !isDone {
                statements.remove(key, isOnServer: false)
            }
        case .statement(_, let key, let isWanted):
            if isDone && isWanted {
                replies.results.append(result)
            }
            if let key, let state = replies.failure?.sqlState,
                state == .featureNotSupported || state == .invalidStatementName
            {
                statements.remove(key, isOnServer: state == .featureNotSupported)
            }
        case .deallocation(let name):
            if !isDone {
                statements.discard(name)
            }
        }
    }

    private func receiveSync(into replies: inout Replies, _ patience: Int32) throws(PostgresError) {
        while true {
            guard let handle = try nextResult(patience) else {
                guard session.isUsable else { throw lost() }
                continue
            }
            let result = PostgresResult(handle)
            defer { withExtendedLifetime(result) {} }
            switch PQresultStatus(handle) {
            case PGRES_PIPELINE_SYNC:
                return
            case PGRES_FATAL_ERROR:
                // The transaction around a statement that stands alone ends here, and may fail here.
                let failure = PostgresError(result: handle, statement: nil)
                guard failure.kind != .connection, session.isUsable else { throw failure.with(kind: .connection) }
                replies.failure = replies.failure ?? failure
            default:
                throw PostgresError(.connection, "an unexpected answer to a Sync")
            }
        }
    }

    /// The next result, `nil` at the end of a statement's. Waits by itself, with a bound: `PQgetResult` has none.
    private func nextResult(_ patience: Int32) throws(PostgresError) -> OpaquePointer? {
        while PQisBusy(session.handle) != 0 {
            _ = try wait(Int16(POLLIN), patience)
            guard PQconsumeInput(session.handle) == 1 else { throw lost() }
        }
        return PQgetResult(session.handle)
    }

    private func flush(_ patience: Int32) throws(PostgresError) {
        while true {
            switch PQflush(session.handle) {
            case 0:
                return
            case 1:
                let ready = try wait(Int16(POLLIN | POLLOUT), patience)
                if ready & Int16(POLLIN) != 0, PQconsumeInput(session.handle) != 1 { throw lost() }
            default:
                throw lost()
            }
        }
    }

    private func wait(_ events: Int16, _ milliseconds: Int32) throws(PostgresError) -> Int16 {
        while true {
            var descriptor = pollfd(fd: PQsocket(session.handle), events: events, revents: 0)
            let count = poll(&descriptor, 1, milliseconds)
            if count > 0 {
                return descriptor.revents
            }
            if count == 0 {
                throw PostgresError(.connection, "the server said nothing for \(milliseconds) ms")
            }
            guard errno == EINTR else { throw lost() }
        }
    }

    /// The server enforces the timeout of each statement; this is for a server that can't be heard any more. It does
    /// not grow with the statements of a round trip, because no transaction takes longer than one statement may.
    private var patienceMilliseconds: Int32 {
        guard statementTimeout != nil else { return -1 }
        return Int32(clamping: statementTimeoutMilliseconds + Self.graceMilliseconds)
    }

    private func lost() -> PostgresError {
        isBroken = true
        return PostgresError(.connection, session.errorMessage)
    }
}
