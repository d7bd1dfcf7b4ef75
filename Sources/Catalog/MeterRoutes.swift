import BillingCore
import Postgres
import Web

/// `/meters`.
struct MeterRoutes: Sendable {
    let desk: CatalogDesk

    func register(in operations: Operations) {
        operations.get("/meters", "listMeters", scope: .catalogRead) { try await list($0, $1) }
        operations.post("/meters", "createMeter", scope: .catalogWrite, handler: desk.operatorOnly(create))
        operations.get("/meters/{key}", "getMeter", scope: .catalogRead) { try await get($0, $1) }
        operations.patch("/meters/{key}", "updateMeter", scope: .catalogWrite, handler: desk.operatorOnly(update))
        operations.delete("/meters/{key}", "archiveMeter", scope: .catalogWrite, handler: desk.operatorOnly(archive))
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let includesArchived = query.bool("include_archived") ?? false
        try query.finish()
        let meters = try await desk.read(context) { transaction in
            try MeterStore.list(
                includingArchived: includesArchived,
                after: page.afterKey,
                limit: page.fetchCount,
                in: transaction
            )
        }
        return try .json(page.page(meters) { [$0.key] }.map(MeterBody.init))
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let key = try request.parameter("key")
        let meter = try await desk.read(context) { try Self.existing(key, in: $0) }
        return try .json(MeterBody(meter), revision: meter.revision)
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let input = try MeterInput.read(try request.fields())
        let now = context.clock.now()
        return try await desk.writeCatalog(request, context) { transaction in
            let version = try CatalogVersion.bump(in: transaction)
            let meter = Meter(
                id: try MeterStore.nextID(in: transaction),
                key: input.key,
                name: input.name,
                definition: input.definition,
                createdVersion: version,
                createdAt: now,
                updatedAt: now
            )
            guard try MeterStore.insert(meter, in: transaction) else {
                throw CatalogFault.keyTaken(.meter, input.key)
            }
            let body = MeterBody(meter)
            try CatalogDesk.audit("created", .meter, meter.key, by: context, after: body, in: transaction)
            return try .created(body, location: "/api/v1/meters/\(meter.key)", revision: meter.revision)
        }
    }

    private func update(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let key = try request.parameter("key")
        let patch = try NamePatch.read(try request.json(), immutable: MeterInput.immutableFields, of: "a meter")
        let now = context.clock.now()
        return try await desk.writeCatalog(request, context) { transaction in
            _ = try CatalogVersion.bump(in: transaction)
            let before = try Self.existing(key, in: transaction)
            try request.ifMatch.require(before.revision)
            let after = before.renamed(patch.name, now: now)
            try MeterStore.update(after, in: transaction)
            let body = MeterBody(after)
            let shown = MeterBody(before)
            try CatalogDesk.audit("updated", .meter, key, by: context, before: shown, after: body, in: transaction)
            return try .json(body, revision: after.revision)
        }
    }

    private func archive(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let key = try request.parameter("key")
        let now = context.clock.now()
        return try await desk.writeCatalog(request, context) { transaction in
            let version = try CatalogVersion.bump(in: transaction)
            let before = try Self.existing(key, in: transaction)
            try request.ifMatch.require(before.revision)
            guard before.archivedVersion == nil else { return .noContent }
            let features = try FeatureStore.keys(fedBy: before.id, limit: 11, in: transaction)
            guard features.isEmpty else { throw CatalogFault.meterInUse(key, features: features) }
            let after = before.archived(at: version, now: now)
            try MeterStore.update(after, in: transaction)
            try CatalogDesk.audit(
                "archived",
                .meter,
                key,
                by: context,
                before: MeterBody(before),
                after: MeterBody(after),
                in: transaction
            )
            return .noContent
        }
    }

    private static func existing(_ key: String, in transaction: borrowing Transaction) throws -> Meter {
        guard let meter = try MeterStore.find(key: key, in: transaction) else {
            throw CatalogFault.notFound(.meter, key)
        }
        return meter
    }
}

/// What the API shows of a meter.
struct MeterBody: Encodable, Sendable {
    let key: String
    let name: String
    let eventType: String
    let aggregation: String
    let value: JSONValue
    let classDimension: JSONValue
    let filters: JSONValue
    let dimensions: JSONValue
    let ignores: JSONValue
    let status: String
    let createdAt: Instant
    let updatedAt: Instant

    init(_ meter: Meter) {
        let definition = meter.definition.json
        key = meter.key
        name = meter.name
        eventType = meter.definition.eventType
        aggregation = meter.definition.aggregation.rawValue
        value = definition["value"] ?? .null
        classDimension = definition["class_dimension"] ?? .null
        filters = definition["filters"] ?? .null
        dimensions = definition["dimensions"] ?? .null
        ignores = definition["ignores"] ?? .null
        status = meter.archivedVersion == nil ? "active" : "archived"
        createdAt = meter.createdAt
        updatedAt = meter.updatedAt
    }
}
