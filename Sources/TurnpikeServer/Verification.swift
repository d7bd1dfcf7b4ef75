import BillingCore
import Identity
import Invoicing
package import Logging
import Postgres
package import Usage
import Web

/// `turnpike verify`: the usage of a database, rebuilt from its raw events and compared.
package enum Verification {
    /// - Parameters:
    ///   - tenant: the key of the one tenant to verify; every one when left out.
    ///   - difference: called for each one found.
    ///   - progress: called after each page of events and each tenant.
    package static func run(
        _ settings: CommandSettings,
        tenant key: String? = nil,
        logger: Logger,
        difference: (UsageDifference) -> Void,
        progress: (UsageVerification.Progress) -> Void
    ) async throws -> UsageVerification.Progress {
        try await settings.withDatabase(workerTimeoutMilliseconds: 600_000, logger: logger) { pool, configuration in
            let tenant = try await tenant(key, pool)
            var total = try await UsageVerification(
                pool: pool,
                clock: .system,
                operatorZone: configuration.zone
            ).run(
                tenant: tenant,
                difference: difference,
                progress: progress
            )
            try await InvoiceVerification(pool: pool, clock: .system).run(
                tenant: tenant,
                difference: {
                    total.differences += 1
                    difference($0)
                },
                progress: {
                    total.invoices += 1
                    progress(total)
                }
            )
            return total
        }
    }

    private static func tenant(_ key: String?, _ pool: PostgresPool) async throws -> TenantID? {
        guard let key else { return nil }
        guard let tenant = try await TenantLookup.directory(pool).tenant(key) else {
            throw CommandRefusal(description: "there is no tenant '\(key)'")
        }
        return tenant
    }
}
