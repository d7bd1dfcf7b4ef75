package import Logging

/// One step of the schema: a file `NNNN_topic.sql`, forward only.
package struct Migration: Hashable, Sendable {
    /// Its name without the ending. Names are applied in their order, which the leading number decides.
    package let name: String
    /// One or more statements, executed in one transaction.
    package let sql: String

    package init(name: String, sql: String) {
        self.name = name
        self.sql = sql
    }
}

/// Brings a database to the state the migrations describe.
///
/// It connects as its configuration's login role, which owns the schema, and takes no other. An advisory lock lets one
/// migrator work at a time; the others wait and then find nothing to do. Each migration and its row in
/// `schema_migration` are one transaction. It grants nothing itself.
package struct PostgresMigrator: Sendable {
    private let configuration: PostgresConfiguration
    private let migrations: [Migration]
    private let logger: Logger

    /// How long a migration waits at a time for a lock that somebody holds: all who ask for the table meanwhile wait
    /// behind it. More than PostgreSQL's `deadlock_timeout`, after which a vacuum makes way.
    package var lockTimeoutMilliseconds = 1_500
    /// After that it pauses, so that who waited gets on, and tries again.
    package var lockPauseMilliseconds = 5_000
    /// For how long it tries again.
    package var lockPatience = Duration.seconds(600)
    /// What takes longer until it fails is not tried again: it would be in everybody's way each time.
    private static let longAttempt = Duration.seconds(5)
    /// How long to wait for another migrator.
    package var turnTimeoutMilliseconds = 900_000

    /// "turnpike" as a number, known to nobody else's advisory locks.
    private static let advisoryLock = 8_391_171_884_412_367_717

    package init(
        _ configuration: PostgresConfiguration,
        migrations: [Migration],
        logger: Logger = Logger(label: "turnpike.migrator")
    ) {
        self.configuration = configuration.asOwner()
        self.migrations = migrations.sorted { $0.name < $1.name }
        self.logger = logger
    }

    /// Applies what is pending and returns the names, in order. Throws ``MigrationFailure`` when the history doesn't
    /// match; a migration that fails leaves the database as the one before it left it. `toleratingNewer` only warns of
    /// migrations that sort after the last one here, so that the previous release can start again while a newer one is
    /// rolled out. Cancelling the task cancels the running statement, so that the migration under way is rolled back;
    /// only connecting is waited for.
    @discardableResult
    package func migrate(toleratingNewer: Bool = false) async throws -> [String] {
        let ticket = CancelTicket()
        let cancellation = CancelSwitch()
        return try await withTaskCancellationHandler {
            try await DedicatedThread.run("pg-migrate") {
                let session = try Session(configuration)
                cancellation.retarget(session.handle)
                try cancellation.enter(ticket)
                defer { _ = cancellation.leave() }
                return try applyPending(session, ticket, toleratingNewer: toleratingNewer)
            }
        } onCancel: {
            cancellation.cancel(ticket)
        }
    }

    /// Every migration known here or recorded there, in order. Changes nothing.
    package func status() async throws -> [MigrationStatus] {
        try await DedicatedThread.run("pg-migrate") {
            let session = try Session(configuration)
            return MigrationHistory(
                migrations: try checksummed(session),
                records: try records(session)
            ).statuses
        }
    }

    /// Ends the session, and what it has locked, soon after the migrator's host is gone without a word.
    private static let endsWithItsHost = """
        SET idle_in_transaction_session_timeout = '30s';
        SET idle_session_timeout = '60s';
        SET tcp_user_timeout = '10s';
        SET tcp_keepalives_idle = 10;
        SET tcp_keepalives_interval = 5;
        SET tcp_keepalives_count = 3
        """

    private func applyPending(
        _ session: Session,
        _ ticket: CancelTicket,
        toleratingNewer: Bool
    ) throws -> [String] {
        try session.run("SET lock_timeout = \(turnTimeoutMilliseconds); \(Self.endsWithItsHost)")
        try session.run("SELECT pg_advisory_lock(\(Self.advisoryLock))")
        try session.run(
            """
            SET lock_timeout = \(lockTimeoutMilliseconds);
            CREATE TABLE IF NOT EXISTS schema_migration (
                name text CONSTRAINT schema_migration_pkey PRIMARY KEY,
                checksum text NOT NULL,
                applied_at timestamptz NOT NULL
            )
            """
        )
        let history = MigrationHistory(migrations: try checksummed(session), records: try records(session))
        let pending = try history.pending(toleratingNewer: toleratingNewer)
        if !history.newer.isEmpty {
            logger.warning(
                "a newer release has migrated the database",
                metadata: ["migrations": "\(history.newer.joined(separator: ", "))"]
            )
        }
        for migration in pending {
            // A signal is lost between two statements.
            guard !ticket.isCancelled else { throw PostgresError(.cancelled, "the task was cancelled") }
            try applyPatiently(migration, session)
            logger.info("migration applied", metadata: ["migration": "\(migration.name)"])
        }
        return pending.map(\.name)
    }

    /// Tries a migration again while somebody, such as a dump or a report, holds locks that it needs.
    private func applyPatiently(_ migration: ChecksummedMigration, _ session: Session) throws {
        let end = ContinuousClock.now + lockPatience
        var isToldOf = false
        while true {
            let start = ContinuousClock.now
            do {
                return try apply(migration, session)
            } catch MigrationFailure.failed(let name, let error)
                where error.isLockTimeout || error.sqlState == .deadlockDetected
            {
                guard start < end, start.duration(to: .now) < Self.longAttempt else {
                    throw MigrationFailure.failed(name: name, error)
                }
                try session.run("ROLLBACK")
                if !isToldOf {
                    isToldOf = true
                    logger.warning(
                        "migration waits for locks that others hold, such as those of a dump or a long query",
                        metadata: ["migration": "\(name)"]
                    )
                }
                try session.run("SELECT pg_sleep(\(lockPauseMilliseconds) / 1000.0)")
            }
        }
    }

    private func apply(_ migration: ChecksummedMigration, _ session: Session) throws {
        do {
            try session.run("BEGIN")
            try session.run(migration.sql)
            guard session.isInTransaction else {
                throw MigrationFailure.endsItsTransaction(name: migration.name)
            }
            try session.run(
                "INSERT INTO schema_migration (name, checksum, applied_at) VALUES ($1, $2, clock_timestamp())",
                [migration.name, migration.checksum]
            )
            try session.run("COMMIT")
        } catch let error as PostgresError {
            throw MigrationFailure.failed(name: migration.name, error.with(statement: nil))
        }
    }

    /// The server computes the SHA-256, so that the driver needs no cryptography of its own.
    private func checksummed(_ session: Session) throws(PostgresError) -> [ChecksummedMigration] {
        var checksummed: [ChecksummedMigration] = []
        for migration in migrations {
            let checksum = try session.run(
                "SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex')",
                [migration.sql]
            ).first { row throws(PostgresError) in try row.next(String.self) }
            checksummed.append(
                ChecksummedMigration(name: migration.name, sql: migration.sql, checksum: checksum ?? "")
            )
        }
        return checksummed
    }

    private func records(_ session: Session) throws(PostgresError) -> [MigrationRecord] {
        let exists = try session.run("SELECT to_regclass('schema_migration') IS NOT NULL", [])
            .first { row throws(PostgresError) in try row.next(Bool.self) }
        guard exists == true else { return [] }
        return try session.run(
            "SELECT name, checksum, applied_at FROM schema_migration ORDER BY name COLLATE \"C\"",
            []
        )
        .map { row throws(PostgresError) in
            MigrationRecord(name: try row.next(), checksum: try row.next(), appliedAt: try row.next())
        }
    }
}
