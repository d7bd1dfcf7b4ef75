import BillingCore
import Catalog
import Postgres
import Web

/// Which usage that nothing measured is wanted.
struct UnmeteredSelection: Sendable {
    let type: String
    /// Nil for that of all tenants.
    let tenant: TenantID?
    let interval: Interval
}

/// An event of the raw log that no feature counts.
struct UnmeteredEvent: Sendable {
    let tenant: TenantID
    let stored: StoredEvent
}

/// Goes through raw logs, tenant by tenant and from the earliest event on, for events that no feature counted when they
/// were stored and some would count now.
struct UnmeteredScan: Sendable {
    /// Behind which event the search goes on, and of which tenant; without an event behind all of the tenant's.
    struct Position: Sendable {
        let tenant: TenantID
        let event: EventPosition?
    }

    private static let pageRows = 1_000
    /// How much one search looks at: pages, and tenants that have nothing in the interval.
    private static let mostPages = 100
    private static let mostTenants = 1_000

    let pool: PostgresPool
    let selection: UnmeteredSelection
    /// The features that the type feeds now.
    private let features: [MeteredFeature]
    private let catalog: CatalogSnapshot

    private(set) var found: [UnmeteredEvent] = []
    /// How many events were passed over, because no feature counts them now either.
    private(set) var passedOver = 0
    private var pages = 0

    init(_ selection: UnmeteredSelection, catalog: CatalogSnapshot, pool: PostgresPool) {
        self.selection = selection
        self.catalog = catalog
        self.pool = pool
        features = catalog.featuresByEventType[selection.type] ?? []
    }

    /// - Parameter limit: of events that are found.
    /// - Returns: where to go on; nil where all was looked at.
    mutating func run(after position: Position?, limit: Int) async throws -> Position? {
        let (tenants, isWhole) = try await tenants(after: position)
        for tenant in tenants {
            var last = position?.tenant == tenant ? position?.event : nil
            while let page = try await page(of: tenant, after: last) {
                for stored in page.events {
                    if Metering.measureStored(stored.event, features: features).isEmpty {
                        passedOver += 1
                        continue
                    }
                    found.append(UnmeteredEvent(tenant: tenant, stored: stored))
                    guard found.count < limit else { return Position(tenant: tenant, event: stored.position) }
                }
                last = page.last
                guard pages < Self.mostPages else { return Position(tenant: tenant, event: last) }
            }
        }
        return isWhole ? nil : tenants.last.map { Position(tenant: $0, event: nil) }
    }

    /// The tenants to look at, from that of the position on, and whether there are no others.
    private func tenants(after position: Position?) async throws -> (tenants: [TenantID], isWhole: Bool) {
        if let tenant = selection.tenant { return ([tenant], true) }
        let next = try await pool.query(
            .interactive,
            StoredTenants.page(after: position?.tenant ?? .operatorWide, limit: Self.mostTenants)
        ) { row throws(PostgresError) in try row.next(TenantID.self) }
        let isWhole = next.count < Self.mostTenants
        guard let position, position.event != nil else { return (next, isWhole) }
        return ([position.tenant] + next, isWhole)
    }

    /// The unmetered events of the next page of a tenant's log, and the last place of that; nil behind the last one.
    private mutating func page(
        of tenant: TenantID,
        after position: EventPosition?
    ) async throws -> (events: [StoredEvent], last: EventPosition)? {
        let rows = try await pool.query(
            .interactive,
            EventLogStore.page(
                tenant: tenant,
                interval: selection.interval,
                type: selection.type,
                after: position,
                throughSequence: .max,
                limit: Self.pageRows
            ),
            EventLogStore.decode
        )
        guard let last = rows.last?.position else { return nil }
        pages += 1
        let unmetered = rows.filter { isUnmetered($0) }
        guard !unmetered.isEmpty else { return ([], last) }
        let voided = Set(
            try await pool.query(
                .interactive,
                EventLogStore.voided(among: unmetered, of: tenant, throughSequence: .max),
                EventLogStore.decodeVoided
            )
        )
        return (unmetered.filter { !voided.contains($0.key) }, last)
    }

    private func isUnmetered(_ stored: StoredEvent) -> Bool {
        guard stored.reversalOf == nil, stored.event.type == selection.type else { return false }
        let counting = catalog.features(of: stored.event.type, at: stored.catalogVersion)
        return Metering.measureStored(stored.event, features: counting).isEmpty
    }
}

extension UnmeteredScan.Position {
    /// As a cursor keeps it.
    var cursor: [String] { [tenant.description] + (event?.cursor ?? []) }

    /// - Throws: `PageRequest.invalidCursor`.
    init(_ cursor: [String]) throws {
        guard let tenant = cursor.first.flatMap({ Int64($0) }) else { throw PageRequest.invalidCursor }
        self.init(
            tenant: TenantID(rawValue: tenant),
            event: cursor.count == 1 ? nil : try EventPosition(cursor: Array(cursor.dropFirst()))
        )
    }
}
