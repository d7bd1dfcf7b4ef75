import BillingCore
import Postgres
import Web

/// `/meters`.
struct MeterRoutes: Sendable {
    let desk: CatalogDesk

    func register(in operations: Operations) {
        operations.get("/meters", "listMeters", scope: .catalogRead) { try await list($0, $1) }
        operations.post("/meters", "createMeter", scope: .catalogWrite, handler: desk.operatorOnly(create))
        operations.get("/meters/{key}", "getMeter", scope: .catalogRead) {
            try await desk.get(Meter.self, $0, $1)
        }
        operations.patch(
            "/meters/{key}",
            "updateMeter",
            scope: .catalogWrite,
            handler: desk.operatorOnly { try await desk.rename(Meter.self, $0, $1) }
        )
        operations.delete(
            "/meters/{key}",
            "archiveMeter",
            scope: .catalogWrite,
            handler: desk.operatorOnly { try await desk.archive(Meter.self, $0, $1) }
        )
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
            return try .created(body, location: "/meters/\(meter.key)", revision: meter.revision)
        }
    }
}

extension Meter: CatalogEntry {
    static let resource = CatalogFault.Resource.meter
    static let immutableFields = [
        "key", "event_type", "aggregation", "value", "class_dimension", "filters", "dimensions", "ignores",
    ]

    var body: MeterBody { MeterBody(self) }

    static func find(key: String, in transaction: borrowing Transaction) throws -> Meter? {
        try MeterStore.find(key: key, in: transaction)
    }

    func update(in transaction: borrowing Transaction) throws {
        try MeterStore.update(self, in: transaction)
    }

    func requireUnused(in transaction: borrowing Transaction) throws {
        let features = try FeatureStore.keys(fedBy: id, limit: 11, in: transaction)
        guard features.isEmpty else { throw CatalogFault.meterInUse(key, features: features) }
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
        status = meter.status
        createdAt = meter.createdAt
        updatedAt = meter.updatedAt
    }
}
