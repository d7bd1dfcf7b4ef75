import ArgumentParser
import Foundation
import Logging
import TurnpikeServer
import Usage
import Web

struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Rebuild every counter from the raw events and report differences.",
        discussion: """
            Reads only, and may run beside a service at work: each tenant is judged as of one moment, one short \
            transaction at a time.

            Every difference is a line on standard output. Progress and the summary go to standard error.

            Exit status: 0 when the events give exactly what is stored, 1 when there are differences, 2 when nothing \
            could be compared.
            """
    )

    @Option(help: "The key of the one tenant to verify; every one when left out.")
    var tenant: String?

    @Option(help: "PostgreSQL to read; better in DATABASE_URL, because ps shows options to every user.")
    var databaseURL: String?

    @Flag(name: [.short, .long], help: "Print differences and faults only.")
    var quiet = false

    private static let differencesFound = ExitCode(1)
    private static let notRun = ExitCode(2)

    func run() async throws {
        var meter = VerifyProgress(isQuiet: quiet)
        let found: Int
        do {
            let configuration = try Configuration(
                environment: ProcessInfo.processInfo.environment,
                arguments: databaseURL.map { ["--database-url", $0] } ?? []
            )
            let logger = Logger(label: "turnpike") { JSONLogHandler(label: $0, level: .error) }
            found = try await Verification.run(
                configuration,
                tenant: tenant,
                logger: logger,
                difference: { difference in
                    meter.clear()
                    print(difference)
                },
                progress: { meter.show($0) }
            ).differences
        } catch {
            meter.clear()
            Terminal.complain("\(error)")
            throw Self.notRun
        }
        meter.finish()
        guard found == 0 else { throw Self.differencesFound }
    }
}
