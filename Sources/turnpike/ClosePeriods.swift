import ArgumentParser
import BillingCore
import Foundation
import Invoicing
import Logging
import Synchronization
import TurnpikeServer
import Web

struct ClosePeriods: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "close-periods",
        abstract: "Draft and finalise the invoices that are due.",
        discussion: """
            A running service does the same by itself; both may run at once. It can be interrupted at any point and \
            run again: nothing is invoiced twice.

            Progress goes to standard error, the result to standard output. Exit status: 0 when everything that is due \
            was done, 1 when drafts could not be finalised, 2 when nothing was done.
            """
    )

    @Option(help: "Do what was due at this time, such as 2026-12-01T00:00:00Z; now when left out.")
    var asOf: String?

    @Flag(help: "Say how much is due and do nothing.")
    var dryRun = false

    @Option(help: "PostgreSQL to work in; better in DATABASE_URL, because ps shows options to every user.")
    var databaseURL: String?

    private static let someFailed = ExitCode(1)
    private static let notRun = ExitCode(2)

    func run() async throws {
        do {
            let failed = try await close()
            guard failed == 0 else { throw Self.someFailed }
        } catch let code as ExitCode {
            throw code
        } catch {
            Terminal.complain("\(error)")
            throw Self.notRun
        }
    }

    private func close() async throws -> Int {
        let configuration = try Configuration(
            environment: ProcessInfo.processInfo.environment,
            arguments: databaseURL.map { ["--database-url", $0] } ?? []
        )
        let logger = Logger(label: "turnpike") { JSONLogHandler(label: $0, level: .error) }
        let time = try asOf.map { text in
            do {
                return try Instant(parsing: text)
            } catch {
                throw ValidationError("--as-of: \(error)")
            }
        }
        if dryRun {
            let due = try await PeriodClosing.due(configuration, asOf: time, logger: logger)
            let subscriptions = Terminal.count(due.subscriptions, "subscription")
            print(
                "due: \(subscriptions) to draft invoices of, \(Terminal.count(due.drafts, "draft")) to finalise; "
                    + "what is drafted now is finalised after its grace"
            )
            return 0
        }
        let total = Mutex(InvoiceClosing.Progress())
        let done = try await PeriodClosing.run(configuration, asOf: time, logger: logger) { step in
            let sum = total.withLock { total in
                total = total + step
                return total
            }
            Terminal.write("closing: \(Self.text(sum))\n", to: .standardError)
        }
        print("closed: \(Self.text(done))")
        return done.failed
    }

    private static func text(_ progress: InvoiceClosing.Progress) -> String {
        let failed = progress.failed == 0 ? "" : ", \(Terminal.count(progress.failed, "draft")) failed"
        return "\(Terminal.count(progress.drafted, "invoice")) drafted, \(progress.finalized) finalised\(failed)"
    }
}
