import ArgumentParser
import BillingCore
import Catalog
import Foundation
import Logging
import TurnpikeServer
import Web

struct PricesImport: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Compare LiteLLM's table of prices with the price book, and take over what is new or changed.",
        discussion: """
            FILE is LiteLLM's model_prices_and_context_window.json. Without --apply nothing is written.

            Each new or changed price is a line on standard output. Progress, what was skipped and the summary go to \
            standard error. An import is one transaction; the same file again changes nothing. Prices that are in the \
            book stay in the book: a changed one ends where its successor starts.

            Prices are read digit by digit. One with more than 12 digits after the point is skipped and named, unless \
            --round is given.

            LiteLLM's prices are in USD, and so must be TURNPIKE_COST_CURRENCY: that of the environment or, where it \
            has none, what the service was started with last.

            Exit status: 0 when all of it was compared or taken over, 1 when some prices are refused, because another \
            price from the same time is in the book, and the others were, 2 when it could not be.
            """
    )

    @Argument(help: "LiteLLM's model_prices_and_context_window.json.")
    var file: String

    @Flag(help: "Write what is new or changed.")
    var apply = false

    @Flag(help: "Only show what would be written. This is what happens without --apply, too.")
    var dryRun = false

    @Option(help: "When the new prices start, RFC 3339; now when left out.")
    var effectiveFrom: String?

    @Option(
        name: .customLong("provider"),
        help: """
            Take over this provider only; may be repeated. NAME=OTHER files it under the name that events give it, \
            and NAME=* for every provider without a price of its own.
            """
    )
    var providers: [String] = []

    @Flag(help: "Round prices with more than 12 digits after the point instead of skipping them.")
    var round = false

    @Flag(help: "Name every price that was skipped, not only the first few of a kind.")
    var verbose = false

    @Option(help: "PostgreSQL to work in; better in DATABASE_URL, because ps shows options to every user.")
    var databaseURL: String?

    @Flag(name: [.short, .long], help: "Print changes, refusals and faults only.")
    var quiet = false

    private static let notRun = ExitCode(2)

    func validate() throws {
        guard !(apply && dryRun) else { throw ValidationError("--apply and --dry-run exclude each other.") }
        guard ProviderSelection(providers) != nil else {
            throw ValidationError("--provider is NAME or NAME=OTHER.")
        }
        if let effectiveFrom, (try? Instant(parsing: effectiveFrom)) == nil {
            throw ValidationError("--effective-from must be a time such as 2026-11-23T00:00:00Z.")
        }
    }

    func run() async throws {
        let report = PricesImportReport(isQuiet: quiet, isVerbose: verbose)
        let plan: PriceImportPlan
        do {
            let settings = try CommandSettings(
                environment: ProcessInfo.processInfo.environment,
                databaseURL: databaseURL
            )
            let selection = ProviderSelection(providers) ?? .all
            let bytes = try contents()
            let prices = try LiteLLMPrices(parsing: bytes, selection: selection, rounding: round)
            report.read(prices)
            plan = try await PriceImporting.run(
                settings,
                quotes: prices.quotes,
                effectiveFrom: try effectiveFrom.map { try Instant(parsing: $0) },
                isApplied: apply,
                logger: Logger(label: "turnpike") { JSONLogHandler(label: $0, level: .error) },
                progress: report.wrote
            )
        } catch {
            Terminal.complain("\(error)")
            throw Self.notRun
        }
        report.finish(plan, isApplied: apply)
        guard plan.refused.isEmpty else { throw ExitCode.failure }
    }

    /// The file can't be read; in words, and not as Foundation describes it.
    private struct Unreadable: Error, CustomStringConvertible {
        let description: String
    }

    private func contents() throws -> [UInt8] {
        guard let data = FileManager.default.contents(atPath: file) else {
            let reason = FileManager.default.fileExists(atPath: file) ? "can't be read" : "does not exist"
            throw Unreadable(description: "the file '\(file)' \(reason)")
        }
        return [UInt8](data)
    }
}
