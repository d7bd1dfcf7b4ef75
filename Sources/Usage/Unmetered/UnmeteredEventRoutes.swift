import BillingCore
package import Catalog
import Identity
import Postgres
package import Web

/// `POST /unmetered-events/replay`: counts stored usage that no feature counted when it came, in those that there are
/// now. Operators only.
package struct UnmeteredEventRoutes: Sendable {
    /// How many events one replay takes at most.
    fileprivate static let limits = 1...1_000

    let ingest: IngestService
    let catalog: Catalog
    let writes: IdempotentWrites

    package init(ingest: IngestService, catalog: Catalog, writes: IdempotentWrites) {
        self.ingest = ingest
        self.catalog = catalog
        self.writes = writes
    }

    package func register(in operations: Operations) {
        operations.post("/unmetered-events/replay", "replayUnmeteredEvents", scope: .eventsWrite, handler: replay)
    }

    @Sendable
    private func replay(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        guard context.principal.isOperatorWide else { throw CatalogFault.operatorOnly.problem }
        let asked = try UnmeteredReplayRequest(request.fields(), operationID: context.operation.id)
        let tenant = try await catalog.tenantFilter(asked.tenant, for: context)
        let selection = UnmeteredSelection(type: asked.type, tenant: tenant?.id, interval: asked.interval)
        let position = try asked.page.after.map(UnmeteredScan.Position.init)
        for _ in 0..<ingest.limits.preparationAttempts {
            do {
                var scan = UnmeteredScan(selection, catalog: catalog.current, pool: ingest.preparation.pool)
                let next = try await scan.run(after: position, limit: asked.page.limit)
                let replay = try await UnmeteredReplay(
                    scan.found,
                    narrowing: context.principal.narrowing,
                    by: ingest
                )
                let left = scan.passedOver + scan.found.count - replay.eventCount
                return try await writes.perform(request, context) { transaction in
                    let counted = try replay.run(in: transaction)
                    for (tenant, count) in counted.sorted(by: { $0.key < $1.key }) {
                        try AuditLog.record(
                            in: transaction,
                            by: context,
                            action: "unmetered_events.replayed",
                            resource: ("unmetered_events", asked.type),
                            tenant: tenant,
                            after: ["replayed": count]
                        )
                    }
                    return try Answer.json(
                        UnmeteredReplayReport(
                            replayed: counted.values.reduce(0, +),
                            unmetered: left,
                            nextCursor: asked.page.cursor(continuingAt: next?.cursor)
                        )
                    )
                }
            } catch let stale as StaleCatalog {
                try await ingest.refresh(stale)
            } catch {
                throw Problem.ofIngest(error)
            }
        }
        throw IngestRefusal.catalogBusy.problem
    }
}

/// What a replay is to count.
private struct UnmeteredReplayRequest {
    let type: String
    let tenant: String?
    let interval: Interval
    let page: PageRequest

    init(_ fields: JSONObjectReader, operationID: String) throws {
        type = fields.string("type", maximumLength: 512)
        tenant = fields.optionalKey("tenant")
        let from = fields.optionalInstant("from") ?? .minimum
        let to = fields.optionalInstant("to") ?? .maximum
        if to <= from { fields.fault(at: "to", code: "invalid", detail: "This must be after \"from\".") }
        interval = Interval(start: from, end: max(from, to))
        let filters = [type, tenant ?? "", String(from.microseconds), String(to.microseconds)]
        page = fields.page(limits: UnmeteredEventRoutes.limits, of: operationID, filters: filters)
        try fields.finish()
    }
}

/// What a replay did.
private struct UnmeteredReplayReport: Encodable {
    /// Counted now.
    let replayed: Int
    /// Looked at, and left: no feature counts them now either.
    let unmetered: Int
    /// Where the next replay goes on; null where all has been looked at.
    let nextCursor: String?
}
