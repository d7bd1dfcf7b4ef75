import BillingCore
import Catalog
import Foundation

/// What `prices import` tells: changes on standard output, everything else on standard error.
struct PricesImportReport: Sendable {
    /// How many of a kind are named unless all are asked for.
    private static let sampleCount = 3

    let isQuiet: Bool
    let isVerbose: Bool

    func read(_ prices: LiteLLMPrices) {
        say("read \(Terminal.count(prices.quotes.count, "price")) of \(Terminal.count(prices.modelCount, "model"))")
        let kinds = Dictionary(grouping: prices.skipped) { skipped in
            // A reason that quotes the number is its own kind without it.
            skipped.reason.split(separator: " ").filter { $0.first?.isNumber != true }.joined(separator: " ")
        }
        for (_, kind) in kinds.sorted(by: { $0.key < $1.key }) {
            say("skipped \(Terminal.count(kind.count, "entry", plural: "entries")):")
            for skipped in kind.prefix(isVerbose ? kind.count : Self.sampleCount) {
                say("  \(skipped.model)\(skipped.field.map { " \($0)" } ?? ""): \(skipped.reason)")
            }
            if !isVerbose, kind.count > Self.sampleCount { say("  and \(kind.count - Self.sampleCount) more") }
        }
    }

    @Sendable
    func wrote(_ count: Int, of total: Int) {
        say("wrote \(count) of \(Terminal.count(total, "price"))")
    }

    func finish(_ plan: PriceImportPlan, isApplied: Bool) {
        for change in plan.changes {
            print(line(change))
        }
        for change in plan.refused {
            write("refused, because a price from the same time is in the book: \(line(change))")
        }
        let changed = plan.changes.count - plan.newCount
        let unchanged = plan.unchangedCount
        say("\(plan.newCount) new, \(changed) changed, \(unchanged) unchanged, \(plan.refused.count) refused")
        if !isApplied, !plan.changes.isEmpty { say("nothing was written: repeat it with --apply") }
    }

    private func line(_ change: PriceImportPlan.Change) -> String {
        let rate = change.quote.rate
        let above = rate.aboveInputTokens == 0 ? "" : " above \(rate.aboveInputTokens) input tokens"
        let subject = "\(rate.provider) \(rate.model) \(rate.component.name)\(above)"
        guard let previous = change.previous else { return "new      \(subject): \(change.quote.unitAmount)" }
        return "changed  \(subject): \(previous) -> \(change.quote.unitAmount)"
    }

    private func say(_ text: String) {
        guard !isQuiet else { return }
        write(text)
    }

    private func write(_ text: String) {
        Terminal.write(text + "\n", to: .standardError)
    }
}
