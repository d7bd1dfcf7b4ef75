import BillingCore
package import Logging
import Postgres

/// Bringing the schema to where this program expects it, and telling whether it is there.
package enum Migrations {
    /// Applies what is pending, as the login that owns the schema. Returns the names of what was applied. With
    /// `toleratingNewer`, what a newer release applied on top is no fault.
    package static func migrate(
        _ configuration: Configuration,
        toleratingNewer: Bool = false,
        logger: Logger
    ) async throws -> [String] {
        try await migrator(configuration, logger).migrate(toleratingNewer: toleratingNewer)
    }

    /// One line for every migration that this program or the database knows.
    package static func status(_ configuration: Configuration, logger: Logger) async throws -> [String] {
        let statuses = try await migrator(configuration, logger).status()
        let width = statuses.map(\.name.count).max() ?? 0
        return statuses.map { status in
            let padding = String(repeating: " ", count: width - status.name.count + 2)
            return status.name + padding + text(status.state)
        }
    }

    /// What a database can be used for.
    enum Standing {
        case ready
        /// Everything is applied, and nothing can be written: it is a standby, or `default_transaction_read_only`.
        case readOnly
        /// Something that this program needs is not applied.
        case outdated
    }

    /// Asks on the `probe` lane. More than this program needs may be applied: a newer release migrates while this one
    /// still runs. A session that takes no writes is not asked again, because a new one may.
    static func standing(_ pool: PostgresPool) async throws -> Standing {
        do {
            return try await pool.withConnection(.probe) { connection in
                // Every transaction on a standby is read-only.
                try await connection.query(
                    as: .service,
                    """
                    SELECT name, current_setting('transaction_read_only')::boolean FROM schema_migration
                    ORDER BY name LIMIT 10000
                    """
                ) { result throws(PostgresError) in
                    let applied = try result.map { row throws(PostgresError) in
                        (name: try row.next(String.self), isReadOnly: try row.next(Bool.self))
                    }
                    let names = applied.map { $0.name }
                    guard Set(EmbeddedFiles.migrations.map(\.name)).isSubset(of: names) else { return .outdated }
                    guard !applied.contains(where: { $0.isReadOnly }) else {
                        throw PostgresError(.server, "the session is read-only", sqlState: .readOnlyTransaction)
                    }
                    return .ready
                }
            }
        } catch let error as PostgresError where error.sqlState == .readOnlyTransaction {
            return .readOnly
        } catch let error as PostgresError where isMissingSchema(error) {
            return .outdated
        }
    }

    /// Whether everything this program needs is applied, also where nothing can be written.
    static func areCurrent(_ pool: PostgresPool) async throws -> Bool {
        try await standing(pool) != .outdated
    }

    /// Nothing was migrated here yet: the table or the service's role is missing, or it may not read the table.
    private static func isMissingSchema(_ error: PostgresError) -> Bool {
        error.sqlState == .undefinedTable || error.sqlState == .insufficientPrivilege
    }

    private static func migrator(_ configuration: Configuration, _ logger: Logger) -> PostgresMigrator {
        PostgresMigrator(
            PostgresConfiguration(url: configuration.migrationURL),
            migrations: EmbeddedFiles.migrations,
            logger: logger
        )
    }

    private static func text(_ state: MigrationStatus.State) -> String {
        func time(_ stamp: PostgresTimestamp) -> String { Instant(microseconds: stamp.microseconds).description }
        return switch state {
        case .applied(let at): "applied \(time(at))"
        case .pending: "pending"
        case .edited(let at): "applied \(time(at)), EDITED since"
        case .unknown(let at): "applied \(time(at)) by a newer release"
        case .outOfOrder: "not applied, but a later one is"
        }
    }
}
