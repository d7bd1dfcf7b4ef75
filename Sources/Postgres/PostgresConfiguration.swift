import CLibPQ

/// How to connect, what every connection is set to, and how many there are.
package struct PostgresConfiguration: Sendable, CustomStringConvertible, CustomReflectable {
    /// A connection URI or a keyword string, as libpq reads them. It may contain a password: never log it.
    package var url: String
    package var applicationName = "turnpike"

    /// The role taken right after login; `nil` for an owner's connection such as the migrator's.
    package var serviceRole: String? = "turnpike_service"
    /// The role of a transaction under ``PostgresScope/tenant(_:)``.
    package var tenantRole = "turnpike_tenant"
    /// The setting that carries the tenant in such a transaction.
    package var tenantSetting = "turnpike.tenant_id"

    package var connectTimeoutSeconds = 5
    /// Whether every statement finds its few rows by a key. It is then planned for lookups, and not anew each time.
    package var plansForKeyLookups = false
    /// How old such a plan may become. One that was made for a table of a few rows reads the table whole, by its index,
    /// and would go on doing so while the table grows, until PostgreSQL analyses it.
    static let planLifetime = Duration.seconds(5)
    /// How long one statement may run; 0 for as long as it takes.
    package var statementTimeoutMilliseconds = 10_000
    /// How long a transaction may sit between two statements; 0 for as long as it takes.
    package var idleInTransactionTimeoutMilliseconds = 15_000
    /// How long sent data may stay unacknowledged before the connection counts as lost.
    package var tcpUserTimeoutMilliseconds = 10_000
    package var keepaliveIdleSeconds = 10
    package var keepaliveIntervalSeconds = 5
    package var keepaliveCount = 3
    /// Prepared statements kept on a connection; the one unused for longest is dropped beyond it.
    package var preparedStatementLimit = 256

    package var ingest = PostgresLaneLimits(connections: 4, waiting: 256)
    package var admission = PostgresLaneLimits(connections: 4, waiting: 256)
    package var interactive = PostgresLaneLimits(connections: 4, waiting: 256)
    package var worker = PostgresLaneLimits(connections: 3, waiting: 64, waitTimeoutMilliseconds: 30_000)
    package var probe = PostgresLaneLimits(connections: 1, waiting: 8)

    package init(url: String) {
        self.url = url
    }

    /// The same server as its owner sees it: no role is taken, no statement times out, and a busy server is given time
    /// to take the connection.
    package func asOwner() -> PostgresConfiguration {
        var copy = self
        copy.serviceRole = nil
        copy.connectTimeoutSeconds = max(connectTimeoutSeconds, 30)
        copy.statementTimeoutMilliseconds = 0
        copy.idleInTransactionTimeoutMilliseconds = 0
        return copy
    }

    /// Whether the URL can be read as what was meant. A password that isn't percent-encoded can also end up in what
    /// libpq takes for a host or a port, and libpq quotes those in its complaints. A text with neither `=` nor a scheme
    /// is the name of a database.
    package var hasValidURL: Bool {
        guard url.contains("=") || url.hasPrefix("postgres://") || url.hasPrefix("postgresql://") else { return true }
        var complaint: UnsafeMutablePointer<CChar>?
        let options = PQconninfoParse(url, &complaint)
        defer {
            PQconninfoFree(options)
            PQfreemem(complaint)
        }
        guard var option = options else { return false }
        while let keyword = option.pointee.keyword {
            let value = option.pointee.val.map { String(cString: $0) } ?? ""
            switch String(cString: keyword) {
            case "port":
                guard value.split(separator: ",").allSatisfy({ UInt16($0) ?? 0 > 0 }) else { return false }
            case "host":
                // A path or an abstract socket may contain anything.
                guard value.hasPrefix("/") || !value.dropFirst().contains("@") else { return false }
            default: break
            }
            option += 1
        }
        return true
    }

    /// Without the URL, which may contain a password.
    package var description: String { "PostgreSQL as \(applicationName)" }

    package var customMirror: Mirror { Mirror(self, children: [:]) }

    package func limits(of lane: PostgresLane) -> PostgresLaneLimits {
        switch lane {
        case .ingest: ingest
        case .admission: admission
        case .interactive: interactive
        case .worker: worker
        case .probe: probe
        }
    }
}

/// A share of the pool, so that bulk work can't starve a request that somebody waits for. On `probe` the database is
/// asked how it is, and nothing else is done: no request, however slow, has the answer wait.
package enum PostgresLane: String, CaseIterable, Sendable {
    case ingest, admission, interactive, worker, probe
}

/// The bounds of one lane.
package struct PostgresLaneLimits: Sendable {
    /// Connections at most; they are opened as they are needed.
    package var connections: Int
    /// Callers that may wait for one; the next is refused at once.
    package var waiting: Int
    package var waitTimeoutMilliseconds: Int
    /// Replaces the configuration's for this lane.
    package var statementTimeoutMilliseconds: Int?

    /// Callers that have a connection or wait for one, at most.
    package var places: Int { connections + waiting }

    package init(
        connections: Int,
        waiting: Int,
        waitTimeoutMilliseconds: Int = 5_000,
        statementTimeoutMilliseconds: Int? = nil
    ) {
        self.connections = connections
        self.waiting = waiting
        self.waitTimeoutMilliseconds = waitTimeoutMilliseconds
        self.statementTimeoutMilliseconds = statementTimeoutMilliseconds
    }
}

/// On whose behalf a transaction runs.
package enum PostgresScope: Hashable, Sendable {
    /// The service itself: the connection's own role.
    case service
    /// One tenant, behind row-level security, whatever the statements say.
    case tenant(Int64)
}

/// Whether a transaction that failed through no fault of its own is done again.
package enum PostgresRetries: Sendable {
    case none
    /// The work may be done twice without harm: up to `attempts` in all, after a serialization failure, a deadlock or a
    /// lost connection, with a jittered pause that doubles.
    case idempotent(attempts: Int)

    func allows(_ error: PostgresError, afterAttempt attempt: Int) -> Bool {
        switch self {
        case .none: false
        case .idempotent(let attempts): attempt < attempts && error.isRetryable
        }
    }
}
