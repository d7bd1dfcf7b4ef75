package import BillingCore
package import Catalog
package import Logging
import Postgres
import Web

/// `turnpike prices import`: LiteLLM's table of prices into the price book.
package enum PriceImporting {
    /// - Parameters:
    ///   - effectiveFrom: when the new prices start; now when left out.
    ///   - isApplied: whether anything is written, or only compared.
    ///   - progress: called with how many entries are written, of how many.
    package static func run(
        _ settings: CommandSettings,
        quotes: [LiteLLMPrices.Quote],
        effectiveFrom: Instant?,
        isApplied: Bool,
        logger: Logger,
        progress: @escaping @Sendable (Int, Int) -> Void
    ) async throws -> PriceImportPlan {
        try await settings.withDatabase(logger: logger) { pool, configuration in
            guard configuration.costCurrency == LiteLLMPrices.currency else {
                throw CommandRefusal(
                    description: "the file's prices are in \(LiteLLMPrices.currency), and TURNPIKE_COST_CURRENCY is "
                        + "\(configuration.costCurrency): enter them through POST /price-book instead"
                )
            }
            let importing = PriceImport(pool: pool, clock: .system, ids: .random(.system))
            let start = effectiveFrom ?? Clock.system.now()
            guard isApplied else { return try await importing.plan(quotes, effectiveFrom: start) }
            return try await importing.apply(quotes, effectiveFrom: start, progress: progress)
        }
    }
}
