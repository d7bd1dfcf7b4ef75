import Identity
import Logging
import Postgres
import ServiceLifecycle
import Web

/// What every room is built from.
struct Dependencies: Sendable {
    let configuration: Configuration
    let pool: PostgresPool
    let writes: IdempotentWrites
    let clock: Clock
    let ids: IDSource
    let logger: Logger
}

/// The rooms of the service, built and registered.
struct Rooms {
    /// Turns a presented credential into a principal.
    let authenticate: Authenticator
    /// What must be done after migrating and before the first request, in this order.
    let preparations: [@Sendable () async throws -> Void]
    /// What runs in the background, in the order of starting; stopped in the opposite order, after HTTP.
    let services: [any Service]
}

extension Rooms {
    /// **The one place where rooms are put together**: build the room, register its routes, and list its preparations
    /// and workers. A room is built from `Dependencies` and from rooms above it.
    static func build(_ dependencies: Dependencies, operations: Operations) -> Rooms {
        let tenants = TenantLookup.directory(dependencies.pool)
        let identity = Identity(
            pool: dependencies.pool,
            writes: dependencies.writes,
            tenants: tenants,
            clock: dependencies.clock
        )
        identity.register(in: operations)

        return Rooms(
            authenticate: { try await identity.authentication.principal(of: $0) },
            preparations: [
                {
                    guard let key = dependencies.configuration.operatorKey else { return }
                    try await OperatorKey.ensure(
                        key,
                        pool: dependencies.pool,
                        clock: dependencies.clock,
                        ids: dependencies.ids
                    )
                }
            ],
            services: [
                CredentialWatch(
                    dependencies.configuration.postgres,
                    authentication: identity.authentication,
                    logger: dependencies.logger
                ),
                IdempotencyExpiryWorker(
                    pool: dependencies.pool,
                    clock: dependencies.clock,
                    logger: dependencies.logger
                ),
            ]
        )
    }
}
