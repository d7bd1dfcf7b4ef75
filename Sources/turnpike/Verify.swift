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

            Judged are, of every tenant that anything is stored of: its row and its ledger; counters, charges, \
            provider costs, distinct values, unpriced usage, keys of events, and what quotas and budgets have used, by \
            the raw events and the catalogue; what limits hold, by open reservations; finalised invoices, made anew; \
            what is left of credits, by their uses; credit notes, by their lines; what invoices were credited, by \
            their credit notes. Without --tenant also budgets over all tenants, and that the numbers of invoices and \
            credit notes have no gap.

            Not judged are: overshoot, pace and alerts of limits; spend caps, and budgets on charges or archived; \
            windows that ended more than 400 days ago; whether and when invoices were paid or voided; drafts; \
            unmatched events; and everything that is entered and not counted, such as the catalogue, prices, \
            customers' data, keys and webhooks. The operations manual says it in full.

            TURNPIKE_TIMEZONE, in which the windows of budgets over all tenants begin, is that of the environment or, \
            where it has none, what the service was started with last.

            Every difference is a line on standard output. Progress and the summary go to standard error.

            Exit status: 0 when the events give exactly what is stored, 1 when there are differences, 2 when it could \
            not be finished.
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
        let total: UsageVerification.Progress
        do {
            let settings = try CommandSettings(
                environment: ProcessInfo.processInfo.environment,
                databaseURL: databaseURL
            )
            let logger = Logger(label: "turnpike") { JSONLogHandler(label: $0, level: .error) }
            total = try await Verification.run(
                settings,
                tenant: tenant,
                logger: logger,
                difference: { difference in
                    meter.clear()
                    print(difference)
                },
                progress: { meter.show($0) }
            )
        } catch {
            meter.clear()
            Terminal.complain("\(error)")
            throw Self.notRun
        }
        meter.finish(total)
        guard total.differences == 0 else { throw Self.differencesFound }
    }
}
