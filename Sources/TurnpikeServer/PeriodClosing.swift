package import BillingCore
import Catalog
package import Invoicing
package import Logging
import Postgres
import Web

/// `turnpike close-periods`: what the worker of a service does all the time, done once by an operator.
package enum PeriodClosing {
    /// Drafts and finalises what is due at a time.
    /// - Parameters:
    ///   - asOf: the present when left out; not after it.
    ///   - logger: told of what can't be drafted or finalised.
    ///   - progress: called after each transaction with what it did.
    package static func run(
        _ settings: CommandSettings,
        asOf: Instant?,
        logger: Logger,
        progress: @escaping @Sendable (InvoiceClosing.Progress) -> Void
    ) async throws -> (done: InvoiceClosing.Progress, putOff: InvoiceClosing.PutOff) {
        try await with(settings, asOf: asOf, logger: logger) { closing, asOf in
            let done = try await closing.run(asOf: asOf, waits: true, progress: progress)
            return (done: done, putOff: try await closing.putOff())
        }
    }

    /// What would be done: subscriptions that would move on, and drafts that would be finalised; and what is put off.
    package static func due(
        _ settings: CommandSettings,
        asOf: Instant?,
        logger: Logger
    ) async throws -> (subscriptions: Int, drafts: Int, putOff: InvoiceClosing.PutOff) {
        try await with(settings, asOf: asOf, logger: logger) { closing, asOf in
            let due = try await closing.due(asOf: asOf)
            return (subscriptions: due.subscriptions, drafts: due.drafts, putOff: try await closing.putOff())
        }
    }

    private static func with<Value: Sendable>(
        _ settings: CommandSettings,
        asOf: Instant?,
        logger: Logger,
        _ body: (InvoiceClosing, Instant) async throws -> Value
    ) async throws -> Value {
        let now = Clock.system.now()
        guard asOf ?? now <= now else {
            throw CommandRefusal(description: "the time is in the future: its usage has not all arrived")
        }
        return try await settings.withDatabase(logger: logger) { pool, configuration in
            let read: [Setting] = [.sellerName, .sellerDetails, .invoiceGraceHours]
            logger.notice("closing periods", metadata: ["settings": "\(CommandSettings.text(configuration, of: read))"])
            let closing = InvoiceClosing(
                pool: pool,
                catalog: Catalog(pool: pool, clock: .system),
                clock: .system,
                ids: .random(.system),
                grace: configuration.invoiceGrace,
                seller: configuration.seller
            ).telling(logger)
            return try await body(closing, asOf ?? now)
        }
    }
}
