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

            TURNPIKE_SELLER_NAME, TURNPIKE_SELLER_DETAILS and TURNPIKE_INVOICE_GRACE_HOURS are those of the \
            environment or, where it has none, what the service was started with last.

            What can't be drafted or finalised, such as amounts out of range, is put off for an hour, by a service or \
            by this command. It is logged to standard error when it fails, and counted in the result.

            Progress goes to standard error, the result to standard output. Exit status: 0 when everything that is due \
            was done, 1 while something is put off, 2 when nothing was done.
            """
    )

    @Option(help: "Do what was due at this time, such as 2026-12-01T00:00:00Z; now when left out.")
    var asOf: String?

    @Flag(help: "Say how much is due and do nothing.")
    var dryRun = false

    @Option(help: "PostgreSQL to work in; better in DATABASE_URL, because ps shows options to every user.")
    var databaseURL: String?

    private static let somePutOff = ExitCode(1)
    private static let notRun = ExitCode(2)

    func run() async throws {
        do {
            let putOff = try await close()
            guard putOff.isEmpty else { throw Self.somePutOff }
        } catch let code as ExitCode {
            throw code
        } catch {
            Terminal.complain("\(error)")
            throw Self.notRun
        }
    }

    private func close() async throws -> InvoiceClosing.PutOff {
        let settings = try CommandSettings(
            environment: ProcessInfo.processInfo.environment,
            databaseURL: databaseURL
        )
        let logger = Logger(label: "turnpike") { JSONLogHandler(label: $0, level: .notice) }
        let time = try asOf.map { text in
            do {
                return try Instant(parsing: text)
            } catch {
                throw ValidationError("--as-of: \(error)")
            }
        }
        if dryRun {
            let due = try await PeriodClosing.due(settings, asOf: time, logger: logger)
            let subscriptions = Terminal.count(due.subscriptions, "subscription")
            print(
                "due: \(subscriptions) to draft invoices of, \(Terminal.count(due.drafts, "draft")) to finalise; "
                    + "what is drafted now is finalised after its grace" + Self.text(due.putOff)
            )
            return due.putOff
        }
        let total = Mutex(InvoiceClosing.Progress())
        let (done, putOff) = try await PeriodClosing.run(settings, asOf: time, logger: logger) { step in
            let sum = total.withLock { total in
                total = total + step
                return total
            }
            Terminal.write("closing: \(Self.text(sum))\n", to: .standardError)
        }
        print("closed: \(Self.text(done))" + Self.text(putOff))
        return putOff
    }

    private static func text(_ progress: InvoiceClosing.Progress) -> String {
        let failed = progress.failed == 0 ? "" : ", \(progress.failed) failed"
        return "\(Terminal.count(progress.drafted, "invoice")) drafted, \(progress.finalized) finalised\(failed)"
    }

    /// A line of its own; empty where nothing is put off.
    private static func text(_ putOff: InvoiceClosing.PutOff) -> String {
        guard let time = putOff.triedAt else { return "" }
        let subscriptions = Terminal.count(putOff.subscriptions, "subscription")
        let drafts = Terminal.count(putOff.drafts, "draft")
        return "\nput off: \(subscriptions) to draft invoices of, \(drafts) to finalise; the first is tried at \(time)"
    }
}
