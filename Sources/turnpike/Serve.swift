import ArgumentParser
import Foundation
import Logging
import Postgres
import TurnpikeServer
import Web

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Answer requests until SIGTERM or SIGINT.",
        discussion: """
            Every option may be given as an environment variable instead; an option wins.

            \(Setting.help)
            """
    )

    @Argument(parsing: .captureForPassthrough, help: "Options, as listed above.")
    var options: [String] = []

    func run() async throws {
        let configuration = try Options.configuration(options, of: Self.self)
        let logger = Logger(label: "turnpike") { JSONLogHandler(label: $0, level: configuration.logLevel) }
        Self.allowOpenFiles(configuration.connectionLimit, logger)
        do {
            try await ServeSession(configuration: configuration, logger: logger).run()
            logger.info("stopped")
        } catch {
            logger.critical("failed", metadata: ["error": .string(Self.reason(error, configuration))])
            throw ExitCode.failure
        }
    }

    private static func reason(_ error: any Error, _ configuration: Configuration) -> String {
        let address = "\(configuration.host):\(configuration.port)"
        if error.isPortTaken {
            let port = "\(Setting.port.flag) or \(Setting.port.name)"
            return "\(address) is taken by another program; choose another with \(port)"
        }
        if error.isHostUnknown {
            let host = "\(Setting.host.flag) or \(Setting.host.name)"
            return "\(address) can't be listened on: \(host) must be an address of this machine, or 0.0.0.0 for all"
        }
        return "\(error)" + (remedy(of: error, configuration).map { "; \($0)" } ?? "")
    }

    private static func remedy(of error: any Error, _ configuration: Configuration) -> String? {
        guard let state = (error as? PostgresError)?.sqlState,
            [.undefinedTable, .insufficientPrivilege].contains(state)
        else { return nil }
        guard configuration.migratesOnStart else {
            return "the database's schema is not the one of this program: run 'turnpike migrate'"
        }
        return "to migrate, \(Setting.migrationURL.name) must be the login that owns the schema; "
            + "\(Setting.migrate.name)=false leaves that to 'turnpike migrate'"
    }

    /// A connection takes a file descriptor, of which a shell usually allows far fewer than the system does.
    private static func allowOpenFiles(_ connections: Int, _ logger: Logger) {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        if limit.rlim_cur < rlim_t(connections + 200) {
            logger.warning(
                "fewer files may be open than TURNPIKE_MAX_CONNECTIONS needs",
                metadata: ["open_files": "\(limit.rlim_cur)"]
            )
        }
    }
}
