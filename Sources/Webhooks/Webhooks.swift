package import Identity
package import Logging
package import Postgres
package import ServiceLifecycle
package import Web

/// The room of what is told to others: the outbox, endpoints and deliveries, put together.
package struct Webhooks: Sendable {
    static let timeoutSeconds: Int64 = 15

    private let endpoints: WebhookEndpointRoutes
    private let deliveries: DeliveryRoutes
    /// What runs in the background.
    package let services: [any Service]

    /// - Parameters:
    ///   - masterKey: nil makes and uses no endpoints that have a secret.
    ///   - outbound: where the operator's own endpoints may lead.
    ///   - tenantOutbound: where those of tenants may lead.
    ///   - mail: nil sends no mail.
    ///   - announceDisabled: tells of an endpoint that the service has stopped using, in the transaction that does it.
    package init(
        pool: PostgresPool,
        writes: IdempotentWrites,
        tenants: TenantDirectory,
        masterKey: MasterKey?,
        outbound: OutboundGuard,
        tenantOutbound: OutboundGuard,
        mail: Sendmail?,
        announceDisabled: @escaping @Sendable (DisabledEndpoint, borrowing Transaction) throws -> Void,
        clock: Clock,
        ids: IDSource,
        logger: Logger
    ) {
        let pace = ChangePace()
        endpoints = WebhookEndpointRoutes(
            pool: pool,
            writes: writes,
            tenants: tenants,
            pace: pace,
            masterKey: masterKey,
            sendsMail: mail != nil,
            outbound: outbound,
            tenantOutbound: tenantOutbound
        )
        deliveries = DeliveryRoutes(pool: pool, writes: writes, tenants: tenants, pace: pace)
        let metrics = DeliveryMetrics()
        let limits = DeliveryWorker.Limits()
        let client = { (addresses: OutboundGuard) in
            OutboundClient(addresses: addresses, timeoutSeconds: Self.timeoutSeconds, lookups: limits.lookups)
        }
        let sender = WebhookSender(
            outbound: client(outbound),
            tenantOutbound: client(tenantOutbound),
            masterKey: masterKey,
            mail: mail,
            logger: logger
        )
        services = [
            DeliveryWorker(
                pool: pool,
                sender: sender,
                disabling: EndpointDisabling(announce: announceDisabled, ids: ids),
                tenants: tenants,
                limits: limits,
                clock: clock,
                ids: ids,
                metrics: metrics,
                logger: logger
            ),
            WebhookUpkeepWorker(pool: pool, masterKey: masterKey, metrics: metrics, clock: clock, logger: logger),
        ]
    }

    package func register(in operations: Operations) {
        endpoints.register(in: operations)
        deliveries.register(in: operations)
    }
}
