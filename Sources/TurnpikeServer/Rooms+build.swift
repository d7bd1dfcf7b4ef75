import Admission
import BillingCore
import Catalog
import Console
import Guard
import Identity
import Invoicing
import Limits
import Logging
import Postgres
import ServiceLifecycle
import Usage
import Web
import Webhooks

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
        let identity = Identity(dependencies)
        identity.register(in: operations)

        let webhooks = Webhooks(dependencies)
        webhooks.register(in: operations)

        let catalog = Catalog(pool: dependencies.pool, clock: dependencies.clock)
        CatalogRoutes(
            pool: dependencies.pool,
            catalog: catalog,
            usage: .ofUsageRoom(dependencies.ids),
            invoices: .ofInvoicingRoom(catalog),
            taxed: .ofInvoicingRoom,
            costCurrency: dependencies.configuration.costCurrency
        ).register(in: operations)
        dependencies.registerLimits(catalog, in: operations)
        let usage = UsageRoom(dependencies, catalog: catalog, operations: operations)
        let admission = AdmissionRoom(dependencies, usage: usage, catalog: catalog, operations: operations)
        let invoicing = InvoicingRoom(dependencies, catalog: catalog, operations: operations)
        MitigationRoutes(catalog: catalog, pool: dependencies.pool).register(in: operations)
        PortalRoutes(frameAncestors: dependencies.configuration.portalFrameAncestors).register(in: operations)

        return Rooms(
            authenticate: { try await identity.authentication.principal(of: $0, from: $1, for: $2) },
            preparations: dependencies.preparations + [
                { try await identity.prepare() },
                { try await catalog.reload() },
                { try await usage.partitionWorker.makeAhead() },
            ],
            services: dependencies.credentialServices(identity) + webhooks.services
                + dependencies.limitServices(catalog) + [
                    CatalogFollower(
                        catalog: catalog,
                        listeningWith: dependencies.configuration.postgres,
                        reconnected: {
                            usage.forgetStored()
                            admission.service.forgetTold()
                        },
                        logger: dependencies.logger
                    ),
                    LimitsInForceWorker(
                        pool: dependencies.pool,
                        catalog: catalog,
                        usage: .ofUsageRoom(dependencies.ids),
                        clock: dependencies.clock,
                        logger: dependencies.logger
                    ),
                    invoicing.closingWorker,
                    invoicing.overdueWorker,
                    usage.partitionWorker,
                    usage.costWorker,
                    admission.expiryWorker,
                    admission.revisionWorker,
                    dependencies.mitigationWorker,
                    usage.ingest,
                    admission.service,
                ]
        )
    }
}

extension Dependencies {
    /// What comes before those of the rooms.
    fileprivate var preparations: [@Sendable () async throws -> Void] {
        [
            { try await compareClocks() },
            { try await ensureOperatorKey() },
        ]
    }

    /// What is used of quotas, the limits beside them, and what somebody should know of.
    fileprivate func registerLimits(_ catalog: Catalog, in operations: Operations) {
        QuotaRoutes(catalog: catalog, pool: pool).register(in: operations)
        SpendCapRoutes(catalog: catalog, pool: pool).register(in: operations)
        BudgetRoutes(
            catalog: catalog,
            pool: pool,
            costCurrency: configuration.costCurrency,
            operatorZone: configuration.zone
        ).register(in: operations)
        AlertRoutes(catalog: catalog, pool: pool, writes: writes).register(in: operations)
    }

    /// What changed budgets do to their rows, and what goes when it is old.
    fileprivate func limitServices(_ catalog: Catalog) -> [any Service] {
        [
            BudgetRevisionWorker(pool: pool, catalog: catalog, ids: ids, clock: clock, logger: logger),
            AlertBacklogWorker(pool: pool, clock: clock, logger: logger),
            AlertExpiryWorker(pool: pool, keptDays: configuration.alertRetentionDays, clock: clock, logger: logger),
            LimitRetention(pool: pool, clock: clock, logger: logger),
        ]
    }

    fileprivate var mitigationWorker: MitigationExpiryWorker {
        MitigationExpiryWorker(pool: pool, clock: clock, ids: ids, logger: logger)
    }

    /// What lowers an invoice, before or after it is final.
    fileprivate func registerCredits(_ catalog: Catalog, in operations: Operations) {
        CreditGrantRoutes(catalog: catalog, pool: pool, writes: writes).register(in: operations)
        DiscountRoutes(catalog: catalog, pool: pool, writes: writes).register(in: operations)
        CreditNoteRoutes(catalog: catalog, pool: pool, writes: writes).register(in: operations)
    }

    /// What keeps credentials current, their last use and the answers that their requests got.
    fileprivate func credentialServices(_ identity: Identity) -> [any Service] {
        [
            CredentialWatch(configuration.postgres, identity: identity, logger: logger),
            CredentialUseWorker(identity.authentication, pool: pool, clock: clock, logger: logger),
            FailedAuthenticationWorker(identity.authentication, pool: pool, clock: clock, ids: ids, logger: logger),
            PortalSessionExpiryWorker(pool: pool, clock: clock, logger: logger),
            IdempotencyExpiryWorker(pool: pool, clock: clock, logger: logger),
        ] + identity.services
    }

    /// Warns where this machine's clock is not PostgreSQL's: replicas that disagree on the time begin and end limits,
    /// reservations and periods at different times.
    fileprivate func compareClocks() async throws {
        let before = clock.now()
        let time = try await pool.query(.interactive, "SELECT clock_timestamp()") { row throws(PostgresError) in
            try row.next(Instant.self)
        }.first
        let tolerance: Int64 = 1
        guard let time else { return }
        if time < before.adding(seconds: -tolerance) || time > clock.now().adding(seconds: tolerance) {
            logger.warning(
                "the clock differs from PostgreSQL's by more than a second: keep the time of all machines by NTP",
                metadata: ["clock": "\(clock.now())", "postgresql": "\(time)"]
            )
        }
    }

    fileprivate func ensureOperatorKey() async throws {
        guard let key = configuration.operatorKey else {
            return try await OperatorKey.warnOfEarlier(pool: pool, logger: logger)
        }
        try await OperatorKey.ensure(key, pool: pool, clock: clock, ids: ids, logger: logger)
    }
}

extension StoredUsageAccess {
    fileprivate static func ofUsageRoom(_ ids: IDSource) -> StoredUsageAccess {
        StoredUsageAccess(
            rate: { transaction, start in try EarlierUsage.rate(start, ids: ids, in: transaction) },
            latest: { transaction, tenant, interval in try EarlierUsage.latest(of: tenant, in: interval, transaction) }
        )
    }
}

extension UpcomingInvoiceAccess {
    fileprivate static func ofInvoicingRoom(_ catalog: Catalog) -> UpcomingInvoiceAccess {
        UpcomingInvoiceAccess { transaction, tenant, instant in
            try UpcomingInvoice.body(of: tenant, at: instant, catalog: catalog.current, in: transaction)
        }
    }
}

extension TaxedInvoiceAccess {
    fileprivate static let ofInvoicingRoom = TaxedInvoiceAccess(
        number: { transaction, tenant in try InvoiceStore.taxedNumber(of: tenant, in: transaction) },
        otherRate: { transaction, tenant, rates in
            try InvoiceStore.otherRate(than: rates, of: tenant, in: transaction)
        }
    )
}

extension Identity {
    fileprivate init(_ dependencies: Dependencies) {
        self.init(
            pool: dependencies.pool,
            writes: dependencies.writes,
            tenants: TenantLookup.directory(dependencies.pool),
            throttle: AuthenticationThrottle(
                limits: dependencies.configuration.authenticationLimits,
                clock: dependencies.clock
            ),
            portalPage: dependencies.configuration.portalURL,
            oauth: dependencies.configuration.oauth,
            outbound: OutboundGuard(allowed: dependencies.configuration.outboundAllowed),
            deadline: dependencies.configuration.admission.deadline,
            clock: dependencies.clock,
            ids: dependencies.ids,
            logger: dependencies.logger
        )
    }
}

extension Webhooks {
    fileprivate init(_ dependencies: Dependencies) {
        self.init(
            pool: dependencies.pool,
            writes: dependencies.writes,
            tenants: TenantLookup.directory(dependencies.pool),
            masterKey: dependencies.configuration.tokens.masterKey,
            outbound: OutboundGuard(allowed: dependencies.configuration.outboundAllowed),
            tenantOutbound: OutboundGuard(
                allowed: dependencies.configuration.webhookAllowed,
                setting: Setting.webhookAllow.name
            ),
            mail: dependencies.configuration.mail,
            announceDisabled: { endpoint, transaction in
                // Whoever enables it over and over, or makes ever new ones, is told, and operators with it, once an
                // hour of each, and of few in an hour.
                let hourMicroseconds: Int64 = 3_600_000_000
                let hour = endpoint.disabledAt.microseconds / hourMicroseconds
                var alert = AlertDraft(
                    .webhookEndpointDisabled,
                    of: endpoint.tenant,
                    key: endpoint.tenantKey,
                    identity: [endpoint.key, "\(hour)"],
                    detail: endpoint.detail
                )
                alert.bound = AlertDraft.Bound(5, since: Instant(microseconds: hour * hourMicroseconds))
                try AlertStore.raise([alert], at: endpoint.disabledAt, ids: dependencies.ids, in: transaction)
            },
            clock: dependencies.clock,
            ids: dependencies.ids,
            logger: dependencies.logger
        )
    }
}

/// The room of usage: ingest with its lanes, and the workers that make partitions ahead and rate what was unpriced.
private struct UsageRoom {
    let ingest: IngestService
    let partitionWorker: PartitionWorker
    let costWorker: CostWorker

    init(_ dependencies: Dependencies, catalog: Catalog, operations: Operations) {
        let partitions = PartitionRegistry()
        ingest = IngestService(
            catalog: catalog,
            pool: dependencies.pool,
            partitions: partitions,
            clock: dependencies.clock,
            ids: dependencies.ids,
            limits: dependencies.configuration.ingestLimits,
            costs: dependencies.configuration.costPolicy,
            operatorZone: dependencies.configuration.zone,
            logger: dependencies.logger
        )
        costWorker = CostWorker(
            catalog: catalog,
            pool: dependencies.pool,
            policy: dependencies.configuration.costPolicy,
            clock: dependencies.clock,
            ids: dependencies.ids,
            operatorZone: dependencies.configuration.zone,
            logger: dependencies.logger
        )
        partitionWorker = PartitionWorker(
            partitions: partitions,
            pool: dependencies.pool,
            clock: dependencies.clock,
            logger: dependencies.logger
        )
        EventRoutes(
            ingest: ingest,
            catalog: catalog,
            pool: dependencies.pool,
            writes: dependencies.writes,
            bodyLimitBytes: dependencies.configuration.eventBodyBytes
        ).register(in: operations)
        UnmatchedEventRoutes(ingest: ingest, pool: dependencies.pool, writes: dependencies.writes)
            .register(in: operations)
        UnmeteredEventRoutes(ingest: ingest, catalog: catalog, writes: dependencies.writes).register(in: operations)
        UnpricedUsageRoutes(catalog: catalog, pool: dependencies.pool).register(in: operations)
    }

    /// Has what is known to be stored beside events asked for again.
    func forgetStored() {
        ingest.forgetStored()
        costWorker.forgetStored()
    }
}

/// The room of admission: its lanes, and the worker that ends reservations.
private struct AdmissionRoom {
    let service: AdmissionService
    let expiryWorker: ReservationExpiryWorker
    let revisionWorker: HoldRevisionWorker

    init(_ dependencies: Dependencies, usage: UsageRoom, catalog: Catalog, operations: Operations) {
        service = AdmissionService(
            ingest: usage.ingest,
            catalog: catalog,
            pool: dependencies.pool,
            clock: dependencies.clock,
            limits: dependencies.configuration.admission,
            logger: dependencies.logger
        )
        expiryWorker = ReservationExpiryWorker(
            pool: dependencies.pool,
            catalog: catalog,
            policy: LimitPolicy(operatorZone: dependencies.configuration.zone, ids: dependencies.ids),
            clock: dependencies.clock,
            logger: dependencies.logger
        )
        revisionWorker = HoldRevisionWorker(
            admission: service,
            clock: dependencies.clock,
            logger: dependencies.logger
        )
        AdmissionRoutes(admission: service).register(in: operations)
    }
}

/// The room of invoices: their routes, and the workers that close periods and tell of what is overdue.
private struct InvoicingRoom {
    let closingWorker: InvoiceClosingWorker
    let overdueWorker: OverdueInvoiceWorker

    init(_ dependencies: Dependencies, catalog: Catalog, operations: Operations) {
        InvoiceRoutes(catalog: catalog, pool: dependencies.pool).register(in: operations)
        InvoiceDocumentRoutes(catalog: catalog, pool: dependencies.pool).register(in: operations)
        InvoiceActionRoutes(
            catalog: catalog,
            pool: dependencies.pool,
            writes: dependencies.writes,
            seller: dependencies.configuration.seller,
            grace: dependencies.configuration.invoiceGrace
        ).register(in: operations)
        WhatIfRoutes(catalog: catalog, pool: dependencies.pool).register(in: operations)
        dependencies.registerCredits(catalog, in: operations)
        let closing = InvoiceClosing(
            pool: dependencies.pool,
            catalog: catalog,
            clock: dependencies.clock,
            ids: dependencies.ids,
            grace: dependencies.configuration.invoiceGrace,
            seller: dependencies.configuration.seller
        )
        closingWorker = InvoiceClosingWorker(closing: closing, clock: dependencies.clock, logger: dependencies.logger)
        overdueWorker = OverdueInvoiceWorker(
            pool: dependencies.pool,
            clock: dependencies.clock,
            ids: dependencies.ids,
            logger: dependencies.logger
        )
    }
}

extension Configuration {
    fileprivate var costPolicy: CostPolicy {
        CostPolicy(currency: costCurrency, trustedSources: trustedCostSources)
    }

    fileprivate var ingestLimits: IngestLimits {
        var limits = IngestLimits()
        limits.queuedEvents = ingestQueueEvents
        limits.flushEvents = ingestFlushEvents
        limits.lanes = ingestConnections
        limits.batchEvents = batchEvents
        limits.maximumAgeDays = eventMaxAgeDays
        limits.maximumFutureSeconds = eventMaxFutureSeconds
        return limits
    }
}
