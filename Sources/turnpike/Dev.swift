import ArgumentParser
import Foundation
import Logging
import Postgres
import TurnpikeServer
import Web

struct Dev: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve a demo on a private PostgreSQL, for trying things out and for developing.",
        discussion: """
            Starts a PostgreSQL of its own under the directory, brings its schema up to date, serves, and makes a \
            small catalogue with real usage over HTTP. Everything is kept for the next start; remove the directory to \
            begin anew. Ends with Ctrl-C. It needs PostgreSQL's server programs on this machine, version 15 or newer, \
            and may run as root (PostgreSQL then runs as the postgres user) or as anybody else.

            Other settings of 'turnpike serve' are read from the environment, except those that say which database to \
            use and TURNPIKE_OPERATOR_KEY.
            """
    )

    @Option(help: "Port to listen on, 0 for any free one; TURNPIKE_PORT or 8080 when left out.")
    var port: Int?

    @Option(help: "Where the database and the keys are kept.")
    var directory = ".turnpike"

    func run() async throws {
        do {
            let settings = try settings()
            let logger = Logger(label: "turnpike") { JSONLogHandler(label: $0, level: settings.logLevel) }
            let workplace = try DevDirectory(path: directory)
            try await DevSession(workplace: workplace, settings: settings, logger: logger).run()
        } catch {
            Terminal.complain(reason(error))
            throw ExitCode.failure
        }
    }

    private func reason(_ error: any Error) -> String {
        switch error {
        case is MigrationFailure:
            "\(error)\nThe database in \(directory) was made by another build. Remove \(directory) to begin anew."
        case _ where error.isPortTaken:
            "the port is taken by another program; choose one with --port, or --port 0 for any free one"
        default:
            "\(error)"
        }
    }

    /// The settings of `serve`, with what suits a person at a terminal where nothing else is said.
    private func settings() throws -> Configuration {
        var environment = ProcessInfo.processInfo.environment
        for setting in [Setting.migrationURL, .migrate, .operatorKey] { environment[setting.name] = nil }
        environment[Setting.databaseURL.name] = "postgresql:///"
        for (setting, value) in [(Setting.logLevel, "warning"), (.shutdownSeconds, "10")] {
            environment[setting.name] = environment[setting.name] ?? value
        }
        return try Configuration(
            environment: environment,
            arguments: port.map { [Setting.port.flag, String($0)] } ?? []
        )
    }
}
