import BillingCore
import Postgres
import Web

/// `/features`.
struct FeatureRoutes: Sendable {
    let desk: CatalogDesk

    func register(in operations: Operations) {
        operations.get("/features", "listFeatures", scope: .catalogRead) { try await list($0, $1) }
        operations.post("/features", "createFeature", scope: .catalogWrite, handler: desk.operatorOnly(create))
        operations.get("/features/{key}", "getFeature", scope: .catalogRead) { try await get($0, $1) }
        operations.patch("/features/{key}", "updateFeature", scope: .catalogWrite, handler: desk.operatorOnly(update))
        operations.delete(
            "/features/{key}",
            "archiveFeature",
            scope: .catalogWrite,
            handler: desk.operatorOnly(archive)
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

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let key = try request.parameter("key")
        let feature = try await desk.read(context) { try Self.existing(key, in: $0) }
        return try .json(FeatureBody(feature), revision: feature.revision)
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
            return try .created(body, location: "/api/v1/features/\(feature.key)", revision: feature.revision)
        }
    }

    private func update(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let key = try request.parameter("key")
        let patch = try NamePatch.read(try request.json(), immutable: FeatureInput.immutableFields, of: "a feature")
        let now = context.clock.now()
        return try await desk.writeCatalog(request, context) { transaction in
            _ = try CatalogVersion.bump(in: transaction)
            let before = try Self.existing(key, in: transaction)
            try request.ifMatch.require(before.revision)
            let after = before.renamed(patch.name, now: now)
            try FeatureStore.update(after, in: transaction)
            let body = FeatureBody(after)
            let shown = FeatureBody(before)
            try CatalogDesk.audit("updated", .feature, key, by: context, before: shown, after: body, in: transaction)
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
            let versions = try PlanVersionStore.names(mentioning: key, limit: 11, in: transaction)
            guard versions.isEmpty else { throw CatalogFault.featureInUse(key, planVersions: versions) }
            let after = before.archived(at: version, now: now)
            try FeatureStore.update(after, in: transaction)
            try CatalogDesk.audit(
                "archived",
                .feature,
                key,
                by: context,
                before: FeatureBody(before),
                after: FeatureBody(after),
                in: transaction
            )
            return .noContent
        }
    }

    private static func existing(_ key: String, in transaction: borrowing Transaction) throws -> Feature {
        guard let feature = try FeatureStore.find(key: key, in: transaction) else {
            throw CatalogFault.notFound(.feature, key)
        }
        return feature
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
        status = feature.archivedVersion == nil ? "active" : "archived"
        createdAt = feature.createdAt
        updatedAt = feature.updatedAt
    }
}
