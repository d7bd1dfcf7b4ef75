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
            begin anew, and where 'postgres' in it is a link, what that leads to, too. Ends with Ctrl-C. It needs \
            PostgreSQL's server programs on this machine, version 15 or newer, and may run as root (PostgreSQL then \
            runs as the postgres user) or as anybody else.

            Other settings of 'turnpike serve' are read from the environment, except those that the demo can't be made \
            with: which database to use, TURNPIKE_OPERATOR_KEY, the certificate, and bounds of events and bodies.
            """
    )

    @Option(help: "Port to listen on, 0 for any free one; TURNPIKE_PORT or 8080 when left out.")
    var port: Int?

    @Option(help: "Where the database and the keys are kept.")
    var directory = ".turnpike"

    func run() async throws {
        var places = [directory]
        do {
            let settings = try settings()
            let logger = Logger(label: "turnpike") { JSONLogHandler(label: $0, level: settings.logLevel) }
            let workplace = try DevDirectory(path: directory)
            places = workplace.places
            try await DevSession(workplace: workplace, settings: settings, logger: logger).run()
        } catch {
            Terminal.complain(reason(error, places))
            throw ExitCode.failure
        }
    }

    /// - Parameter places: where what was made earlier is.
    private func reason(_ error: any Error, _ places: [String]) -> String {
        switch error {
        case MigrationFailure.edited, MigrationFailure.unknown:
            "\(error)\nThe database was made by another build. "
                + "Remove \(places.joined(separator: " and ")) to begin anew."
        case _ where error.isPortTaken:
            "the port is taken by another program; choose one with --port, or --port 0 for any free one"
        default:
            "\(error)"
        }
    }

    /// What the demo may not be made with: its calls are plain HTTP, and one of them has the events of two days.
    private static let dropped = [
        Setting.migrationURL, .migrate, .operatorKey, .tlsCertificate, .tlsKey, .batchEvents, .eventBodyBytes,
        .bodyBytes, .eventMaxAgeDays, .ingestQueueEvents,
    ]

    /// The settings of `serve`, with what suits a person at a terminal where nothing else is said.
    private func settings() throws -> Configuration {
        var environment = ProcessInfo.processInfo.environment
        for setting in Self.dropped { environment[setting.name] = nil }
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
