import CLibPQ
import Glibc

/// One libpq connection, set up as the configuration says. Blocking, and used by one thread at a time.
final class Session {
    let handle: OpaquePointer

    /// Connects, waiting at most the configured time, and checks that the server is new enough.
    init(_ configuration: PostgresConfiguration) throws(PostgresError) {
        // libpq's own complaint quotes the part it can't read, which may be one of the password.
        guard configuration.hasValidURL else {
            throw PostgresError(.connection, "the database URL is not a valid connection string")
        }
        guard Self.openSSLIsLeftAloneAtExit else {
            throw PostgresError(.connection, "OpenSSL can't be set up")
        }
        let options: [(String, String)] = [
            ("dbname", configuration.url),
            ("application_name", configuration.applicationName),
            ("client_encoding", "UTF8"),
            ("connect_timeout", String(configuration.connectTimeoutSeconds)),
            ("keepalives", "1"),
            ("keepalives_idle", String(configuration.keepaliveIdleSeconds)),
            ("keepalives_interval", String(configuration.keepaliveIntervalSeconds)),
            ("keepalives_count", String(configuration.keepaliveCount)),
            ("tcp_user_timeout", String(configuration.tcpUserTimeoutMilliseconds)),
        ]
        guard let handle = Self.connect(options) else {
            throw PostgresError(.connection, "out of memory for a connection")
        }
        guard PQstatus(handle) == CONNECTION_OK else {
            let error = PostgresError(.connection, Self.message(of: handle))
            PQfinish(handle)
            throw error
        }
        // Notices are for people at a prompt; libpq would print them.
        PQsetNoticeReceiver(handle, { _, _ in }, nil)
        self.handle = handle
        guard PQserverVersion(handle) >= 150_000 else {
            throw PostgresError(.connection, "PostgreSQL 15 or newer is needed, not \(PQserverVersion(handle))")
        }
    }

    deinit {
        PQfinish(handle)
    }

    var isUsable: Bool { PQstatus(handle) == CONNECTION_OK }

    var isInTransaction: Bool { PQtransactionStatus(handle) == PQTRANS_INTRANS }

    var errorMessage: String { Self.message(of: handle) }

    /// Runs any number of statements by the simple protocol and returns the result of the last one, in text format.
    @discardableResult
    func run(_ text: String) throws(PostgresError) -> PostgresResult {
        try check(PQexec(handle, text), of: text)
    }

    /// Runs one statement whose parameters are text, and returns its result in binary format.
    @discardableResult
    func run(_ text: String, _ parameters: [String]) throws(PostgresError) -> PostgresResult {
        let copies = parameters.map { strdup($0) }
        defer { copies.forEach { free($0) } }
        let values = copies.map { $0.map { UnsafePointer($0) } }
        return try check(PQexecParams(handle, text, Int32(values.count), nil, values, nil, nil, 1), of: text)
    }

    private func check(_ result: OpaquePointer?, of text: String) throws(PostgresError) -> PostgresResult {
        guard let result else {
            throw PostgresError(.connection, errorMessage, statement: text)
        }
        let owned = PostgresResult(result)
        switch PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY:
            return owned
        default:
            guard isUsable else {
                throw PostgresError(.connection, errorMessage, statement: text)
            }
            throw PostgresError(result: result, statement: text)
        }
    }

    /// libpq's OpenSSL frees what it keeps of threads when the process ends, and doesn't wait for threads that end just
    /// then: now and then a command that had done its work crashed. The first call decides; the system frees the rest.
    private static let openSSLIsLeftAloneAtExit = OPENSSL_init_crypto(turnpike_openssl_no_atexit, nil) == 1

    private static func connect(_ options: [(String, String)]) -> OpaquePointer? {
        let keywords = options.map { strdup($0.0) }
        let values = options.map { strdup($0.1) }
        defer { (keywords + values).forEach { free($0) } }
        let keywordPointers = keywords.map { $0.map { UnsafePointer($0) } } + [nil]
        let valuePointers = values.map { $0.map { UnsafePointer($0) } } + [nil]
        return PQconnectdbParams(keywordPointers, valuePointers, 1)
    }

    private static func message(of handle: OpaquePointer) -> String {
        let text = PQerrorMessage(handle).map { String(cString: $0) } ?? ""
        let trimmed = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        return trimmed.isEmpty ? "the connection was lost" : trimmed
    }
}

extension PostgresError {
    /// What the server says about a statement that failed.
    init(result: OpaquePointer, statement: String?) {
        func field(_ code: Character) -> String? {
            guard let ascii = code.asciiValue, let text = PQresultErrorField(result, Int32(ascii)) else { return nil }
            return String(cString: text)
        }
        let message = field("M") ?? PQresultErrorMessage(result).map { String(cString: $0) } ?? "unknown failure"
        let state = field("C").map { SQLState(rawValue: $0) }
        // The severity that isn't translated. After FATAL the server closes the connection.
        let isFatal = ["FATAL", "PANIC"].contains(field("V"))
        let isTimeout = state == .queryCanceled && !message.contains("user request")
        self.init(
            isFatal ? .connection : isTimeout ? .timeout : .server,
            message,
            detail: field("D"),
            sqlState: state,
            constraint: field("n"),
            statement: statement
        )
    }
}

/// Quotes a name the configuration gives, so that it can stand in a statement that takes no parameters.
func quotedIdentifier(_ name: String) -> String {
    "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
}
