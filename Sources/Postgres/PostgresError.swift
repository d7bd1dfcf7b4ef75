/// A failure of the driver, of the connection, or of a statement.
///
/// A reference to immutable details, so that throwing it costs one word on the path that succeeds.
@usableFromInline package struct PostgresError: Error, CustomStringConvertible {
    package enum Kind: String, Sendable {
        /// The connection could not be made, or was lost.
        case connection
        /// The server refused a statement; see `sqlState`.
        case server
        /// A statement, or the wait for its answer, took longer than allowed.
        case timeout
        /// The task was cancelled.
        case cancelled
        /// No connection of the lane became free in time, or too many were already waiting for one.
        case poolExhausted
        /// A field was not what the reader of the row expected.
        case decoding
    }

    private final class Details: Sendable {
        let kind: Kind
        let message: String
        let detail: String?
        let sqlState: SQLState?
        let constraint: String?
        let statement: String?
        let outcomeUnknown: Bool

        init(
            kind: Kind,
            message: String,
            detail: String?,
            sqlState: SQLState?,
            constraint: String?,
            statement: String?,
            outcomeUnknown: Bool
        ) {
            self.kind = kind
            self.message = message
            self.detail = detail
            self.sqlState = sqlState
            self.constraint = constraint
            self.statement = statement
            self.outcomeUnknown = outcomeUnknown
        }
    }

    private let details: Details

    package init(
        _ kind: Kind,
        _ message: String,
        detail: String? = nil,
        sqlState: SQLState? = nil,
        constraint: String? = nil,
        statement: String? = nil,
        outcomeUnknown: Bool = false
    ) {
        details = Details(
            kind: kind,
            message: message,
            detail: detail,
            sqlState: sqlState,
            constraint: constraint,
            statement: statement,
            outcomeUnknown: outcomeUnknown
        )
    }

    package var kind: Kind { details.kind }
    package var message: String { details.message }
    /// The server's detail. It may quote stored values: never show it to a caller.
    package var detail: String? { details.detail }
    package var sqlState: SQLState? { details.sqlState }
    /// The name of the violated constraint.
    package var constraint: String? { details.constraint }
    /// The text of the statement, without its parameters.
    package var statement: String? { details.statement }
    /// The connection was lost after COMMIT was sent: the transaction may or may not have happened.
    package var outcomeUnknown: Bool { details.outcomeUnknown }

    /// Whether the same work, if it is idempotent, may succeed when done again.
    package var isRetryable: Bool {
        switch kind {
        case .connection: true
        case .server: sqlState.map(SQLState.retryable.contains) ?? false
        case .timeout, .cancelled, .poolExhausted, .decoding: false
        }
    }

    /// Whether the values of a statement are to blame: classes 22 (data exception), 23 (integrity constraint violation)
    /// and 54 (program limit exceeded). The same work without them may succeed.
    package var isOfData: Bool {
        sqlState.map { ["22", "23", "54"].contains($0.rawValue.prefix(2)) } ?? false
    }

    /// Whether another session may do what this one can't: one that takes no writes may be so from its login on, when
    /// those that begin now take some (`default_transaction_read_only`, a standby that was left for another server).
    var endsSession: Bool { sqlState == .readOnlyTransaction }

    /// Whether a lock that others have was waited for in vain (`lock_timeout`).
    package var isLockTimeout: Bool { sqlState == .lockNotAvailable }

    /// Whether what a statement met is to blame: as `isOfData`, or a row that can't be read (a field of another kind,
    /// or storage that is damaged, class XX), or a rule of somebody's in the database (class P0). Other rows may do.
    package var isOfRows: Bool {
        isOfData || kind == .decoding || sqlState.map { ["P0", "XX"].contains($0.rawValue.prefix(2)) } ?? false
    }

    /// Whether the database could not be reached, had no room, or is not in a state to do it, as opposed to having
    /// refused the work. States of the server are 25006 (it takes no writes, such as a standby) and the classes 53
    /// (insufficient resources, such as a full disk), 55 (not in a state for it), 57 (operator intervention) and 58
    /// (system error).
    package var isUnavailable: Bool {
        switch kind {
        case .connection, .timeout, .poolExhausted: true
        case .server:
            sqlState.map { $0 == .readOnlyTransaction || ["53", "55", "57", "58"].contains($0.rawValue.prefix(2)) }
                ?? false
        case .cancelled, .decoding: false
        }
    }

    @usableFromInline package var description: String {
        var text = "\(kind.rawValue): \(message)"
        if let sqlState { text += " [\(sqlState.rawValue)]" }
        if let constraint { text += " constraint \(constraint)" }
        if outcomeUnknown { text += " (outcome unknown)" }
        if let statement { text += " in: \(statement)" }
        return text
    }

    /// The same failure with what was learned about its transaction.
    func with(kind: Kind? = nil, outcomeUnknown: Bool? = nil, statement: String? = nil) -> PostgresError {
        PostgresError(
            kind ?? self.kind,
            message,
            detail: detail,
            sqlState: sqlState,
            constraint: constraint,
            statement: statement ?? self.statement,
            outcomeUnknown: outcomeUnknown ?? self.outcomeUnknown
        )
    }
}

/// A five-character SQLSTATE (PostgreSQL documentation, Appendix A).
package struct SQLState: RawRepresentable, Hashable, Sendable {
    package let rawValue: String

    package init(rawValue: String) {
        self.rawValue = rawValue
    }

    package static let featureNotSupported = SQLState(rawValue: "0A000")
    package static let numericValueOutOfRange = SQLState(rawValue: "22003")
    package static let uniqueViolation = SQLState(rawValue: "23505")
    package static let checkViolation = SQLState(rawValue: "23514")
    package static let readOnlyTransaction = SQLState(rawValue: "25006")
    package static let noActiveTransaction = SQLState(rawValue: "25P01")
    package static let inFailedTransaction = SQLState(rawValue: "25P02")
    package static let idleInTransactionTimeout = SQLState(rawValue: "25P03")
    package static let invalidStatementName = SQLState(rawValue: "26000")
    package static let serializationFailure = SQLState(rawValue: "40001")
    package static let deadlockDetected = SQLState(rawValue: "40P01")
    package static let insufficientPrivilege = SQLState(rawValue: "42501")
    package static let undefinedTable = SQLState(rawValue: "42P01")
    package static let tooManyConnections = SQLState(rawValue: "53300")
    package static let lockNotAvailable = SQLState(rawValue: "55P03")
    package static let queryCanceled = SQLState(rawValue: "57014")

    /// Failures that come from concurrency, not from the work. A prepared statement that went stale after a migration
    /// (the last two) is prepared afresh the next time.
    static let retryable: Set<SQLState> = [
        .serializationFailure, .deadlockDetected, .featureNotSupported, .invalidStatementName,
    ]
}

extension Error {
    /// Whether a lock that others have was waited for in vain.
    package var isLockTimeout: Bool { (self as? PostgresError)?.isLockTimeout == true }
}
