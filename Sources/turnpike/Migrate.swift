import ArgumentParser
import Foundation
import Logging
import TurnpikeServer
import Web

struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring the schema up to date, or show where it stands with --status.",
        discussion: """
            Uses TURNPIKE_MIGRATION_URL, or DATABASE_URL where that is not set. Every option may be given as an \
            environment variable instead; an option wins.

            \(Setting.help)
            """
    )

    @Argument(parsing: .captureForPassthrough, help: "--status, and options as listed above.")
    var options: [String] = []

    func run() async throws {
        let showsStatus = options.contains("--status")
        let configuration = try Options.configuration(options.filter { $0 != "--status" }, of: Self.self)
        let logger = Logger(label: "turnpike") { JSONLogHandler(label: $0, level: configuration.logLevel) }
        do {
            if showsStatus {
                for line in try await Migrations.status(configuration, logger: logger) { print(line) }
            } else {
                let applied = try await Migrations.migrate(configuration, logger: logger)
                print(applied.isEmpty ? "The schema is up to date." : "Applied \(applied.joined(separator: ", ")).")
            }
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            throw ExitCode.failure
        }
    }
}
