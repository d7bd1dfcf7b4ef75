import BillingCore
package import Catalog
import HTTPTypes
import Identity
package import Postgres
package import Web

/// `POST /events`, `GET /events` and `POST /events/void`.
package struct EventRoutes: Sendable {
    private static let mediaTypes = [
        "application/json", "application/cloudevents+json", "application/cloudevents-batch+json",
    ]

    let ingest: IngestService
    let catalog: Catalog
    let pool: PostgresPool
    let writes: IdempotentWrites
    let bodyLimitBytes: Int

    package init(
        ingest: IngestService,
        catalog: Catalog,
        pool: PostgresPool,
        writes: IdempotentWrites,
        bodyLimitBytes: Int
    ) {
        self.ingest = ingest
        self.catalog = catalog
        self.pool = pool
        self.writes = writes
        self.bodyLimitBytes = bodyLimitBytes
    }

    package func register(in operations: Operations) {
        operations.post(
            "/events",
            "ingestEvents",
            scope: .eventsWrite,
            bodyLimitBytes: bodyLimitBytes,
            mediaTypes: Self.mediaTypes,
            isQuiet: true,
            isBrief: true,
            handler: post
        )
        operations.get("/events", "listEvents", scope: .eventsRead, handler: list)
        operations.post("/events/void", "voidEvent", scope: .eventsWrite, handler: void)
    }

    @Sendable
    private func post(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let isLenient = request.header("Prefer").map(Preference.isLenient) ?? false
        let batch = decode(request, by: context.principal)
        do {
            let report = try await ingest.ingest(batch, by: context.principal, isLenient: isLenient)
            var answer = Answer(contentType: "application/json", bytes: report.json)
            if isLenient, let applied = HTTPField.Name("Preference-Applied") {
                answer.headers[applied] = "handling=lenient"
            }
            return answer
        } catch {
            throw Problem.ofIngest(error)
        }
    }

    private func decode(_ request: APIRequest, by principal: Principal) -> DecodedBatch {
        let decoder = EventDecoder(
            maximumEvents: ingest.limits.batchEvents,
            attribution: principal.attribution
        )
        let contentType = request.headers[.contentType]
        return request.withBody { body in
            let isStructured = request.mediaType?.hasPrefix("application/cloudevents") ?? false
            if !isStructured, EventDecoder.isBinaryMode(headerNames: request.headers.lazy.map(\.name.canonicalName)) {
                let headers = request.headers.map { (name: $0.name.canonicalName, value: $0.value) }
                return decoder.decode(headers: headers, contentType: contentType, body: body)
            }
            return decoder.decode(body, as: contentType.flatMap(EventFormat.init(contentType:)) ?? .plain)
        }
    }

    @Sendable
    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let asked = query.string("tenant")
        let page = query.page()
        let feature = feature(query)
        let cell = cell(query, of: feature)
        let user = query.string("user")
        let model = query.string("model")
        let type = query.string("type")
        let source = query.string("source")
        let client = query.string("client")
        let id = query.string("id")
        let (from, to) = (query.instant("from"), query.instant("to"))
        let through = query.integer("through_ledger_seq", in: 0...Int.max)
        if asked == nil, context.principal.isOperatorWide {
            query.fault("tenant", code: "required", detail: "Name the tenant whose events are wanted.")
        }
        try query.finish()
        guard let tenant = try await catalog.tenantFilter(asked, for: context) else {
            throw Problem.notFound("tenant", "")
        }
        var filter = EventLogFilter(
            tenant: tenant.id,
            user: user,
            model: model,
            type: type,
            source: source,
            client: client,
            id: id,
            from: from,
            to: to,
            throughSequence: through.map(Int64.init)
        )
        filter.showsCosts = context.principal.isOperatorWide
        if let source, let id { filter.time = try await time(of: EventKey(source: source, id: id), by: tenant.id) }
        if let feature {
            let log = FeatureEventLog(feature: feature, cell: cell, catalog: catalog.current, pool: pool)
            let counted = try await log.page(filter, page)
            return try Answer.json(
                counted.map { counted in
                    try EventBody(
                        counted.stored,
                        tenant: tenant.key,
                        quantity: counted.quantity,
                        showsCosts: filter.showsCosts
                    )
                }
            )
        }
        let events = try await pool.query(
            .interactive,
            as: filter.scope,
            EventLogStore.newest(filter, before: try EventPosition.before(page), limit: page.fetchCount),
            EventLogStore.decode
        )
        return try Answer.json(
            page.page(events, position: \.position.cursor)
                .map { try EventBody($0, tenant: tenant.key, showsCosts: filter.showsCosts) }
        )
    }

    /// Where a tenant's log has the event, and what takes it back: at the time of its key, which is found without
    /// reading the log. The end of time where the key is not known.
    private func time(of key: EventKey, by tenant: TenantID) async throws -> Instant {
        let times = try await pool.query(
            .interactive,
            DedupStore.existing(tenants: [tenant], keys: [key]),
            DedupStore.decodeTime
        )
        return times.first ?? .maximum
    }

    /// The feature whose counted events are asked for; archived ones too.
    private func feature(_ query: QueryReader) -> Feature? {
        guard let key = query.string("feature") else { return nil }
        let feature = catalog.current.featuresByKey[key]
        if feature == nil {
            query.fault("feature", code: "feature_not_found", detail: "There is no feature '\(key)'.")
        }
        return feature
    }

    /// The cell of the feature's matrix price that is asked for.
    private func cell(_ query: QueryReader, of feature: Feature?) -> EventCell? {
        guard let text = query.string("cell", maximumLength: 500) else { return nil }
        let cell = EventCell(text)
        if cell == nil {
            query.fault("cell", code: "invalid", detail: "This must be a JSON object of dimension values.")
        } else if feature == nil {
            query.fault("cell", code: "not_applicable", detail: "A cell is one of a feature: name that too.")
        }
        return cell
    }

    @Sendable
    private func void(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let void = try EventVoid(request.fields())
        let now = context.clock.now()
        for _ in 0..<ingest.limits.preparationAttempts {
            let tenant = try await catalog.tenant(void.tenant, for: context)
            let voiding = EventVoiding(
                void: void,
                tenant: tenant,
                catalog: catalog.current,
                narrowing: context.principal.narrowing,
                limits: ingest.preparation.limits,
                now: now
            )
            do {
                return try await writes.perform(request, context) { transaction in
                    let voided = try voiding.run(in: transaction)
                    if voided.status == .voided {
                        try AuditLog.record(
                            in: transaction,
                            by: context,
                            action: "event.voided",
                            resource: ("event", void.id),
                            tenant: tenant.id,
                            after: void
                        )
                    }
                    return try Answer.json(voided)
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

/// The `Prefer` header of RFC 7240, as far as ingest knows it.
enum Preference {
    static func isLenient(_ header: String) -> Bool {
        header.split(separator: ",").contains { preference in
            let main = preference.prefix { $0 != ";" }.filter { $0 != " " && $0 != "\"" && $0 != "\t" }
            return main.lowercased() == "handling=lenient"
        }
    }
}
