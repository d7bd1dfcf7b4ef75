import BillingCore
import Postgres
import Web

/// `/features`.
struct FeatureRoutes: Sendable {
    let desk: CatalogDesk

    func register(in operations: Operations) {
        operations.get("/features", "listFeatures", scope: .catalogRead) { try await list($0, $1) }
        operations.post("/features", "createFeature", scope: .catalogWrite, handler: desk.operatorOnly(create))
        operations.get("/features/{key}", "getFeature", scope: .catalogRead) {
            try await desk.get(Feature.self, $0, $1)
        }
        operations.patch(
            "/features/{key}",
            "updateFeature",
            scope: .catalogWrite,
            handler: desk.operatorOnly { try await desk.rename(Feature.self, $0, $1) }
        )
        operations.delete(
            "/features/{key}",
            "archiveFeature",
            scope: .catalogWrite,
            handler: desk.operatorOnly { try await desk.archive(Feature.self, $0, $1) }
        )
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let meter = query.string("meter")
        let includesArchived = query.bool("include_archived") ?? false
        try query.finish()
        let features = try await desk.read(context) { transaction in
            try FeatureStore.list(
                meter: meter,
                includingArchived: includesArchived,
                after: page.afterKey,
                limit: page.fetchCount,
                in: transaction
            )
        }
        return try .json(page.page(features) { [$0.key] }.map(FeatureBody.init))
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let input = try FeatureInput.read(try request.fields())
        let now = context.clock.now()
        return try await desk.writeCatalog(request, context) { transaction in
            let version = try CatalogVersion.bump(in: transaction)
            let meter = try MeterStore.find(key: input.meter, in: transaction)
            let faults = input.faults(over: meter)
            guard faults.isEmpty, let meter else { throw ValidationFailure(faults) }
            let feature = Feature(
                id: try FeatureStore.nextID(in: transaction),
                key: input.key,
                name: input.name,
                meterID: meter.id,
                meterKey: meter.key,
                filters: input.filters,
                unit: input.unit,
                createdVersion: version,
                createdAt: now,
                updatedAt: now
            )
            guard try FeatureStore.insert(feature, in: transaction) else {
                throw CatalogFault.keyTaken(.feature, input.key)
            }
            let body = FeatureBody(feature)
            try CatalogDesk.audit("created", .feature, feature.key, by: context, after: body, in: transaction)
            return try .created(body, location: "/features/\(feature.key)", revision: feature.revision)
        }
    }
}

extension Feature: CatalogEntry {
    static let resource = CatalogFault.Resource.feature
    static let immutableFields = ["key", "meter", "filters", "unit"]

    var body: FeatureBody { FeatureBody(self) }

    static func find(key: String, in transaction: borrowing Transaction) throws -> Feature? {
        try FeatureStore.find(key: key, in: transaction)
    }

    func update(in transaction: borrowing Transaction) throws {
        try FeatureStore.update(self, in: transaction)
    }

    func requireUnused(in transaction: borrowing Transaction) throws {
        let versions = try PlanVersionStore.names(mentioning: key, limit: 11, in: transaction)
        guard versions.isEmpty else { throw CatalogFault.featureInUse(key, planVersions: versions) }
        let tenants = try SubscriptionSegmentStore.tenants(overriding: key, limit: 11, in: transaction)
        guard tenants.isEmpty else { throw CatalogFault.featureOverridden(key, tenants: tenants) }
        let budgets = try BudgetStore.keys(naming: key, limit: 11, in: transaction)
        guard budgets.isEmpty else { throw CatalogFault.featureBudgeted(key, budgets: budgets) }
    }
}

/// What the API shows of a feature.
struct FeatureBody: Encodable, Sendable {
    let key: String
    let name: String
    let meter: String
    let filters: JSONValue
    let unit: String
    let status: String
    let createdAt: Instant
    let updatedAt: Instant

    init(_ feature: Feature) {
        key = feature.key
        name = feature.name
        meter = feature.meterKey
        filters = .array(feature.filters.map { $0.json(nameField: "dimension") })
        unit = feature.unit
        status = feature.status
        createdAt = feature.createdAt
        updatedAt = feature.updatedAt
    }
}
