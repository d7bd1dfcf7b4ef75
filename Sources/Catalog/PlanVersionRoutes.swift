import BillingCore
import Postgres
import Web

/// `/plans/{key}/versions`.
struct PlanVersionRoutes: Sendable {
    let desk: CatalogDesk

    func register(in operations: Operations) {
        let list = "/plans/{key}/versions"
        let one = "/plans/{key}/versions/{version}"
        operations.get(list, "listPlanVersions", scope: .catalogRead) { try await self.list($0, $1) }
        operations.post(list, "createPlanVersion", scope: .catalogWrite, handler: desk.operatorOnly(create))
        operations.get(one, "getPlanVersion", scope: .catalogRead) { try await get($0, $1) }
        operations.put(one, "replacePlanVersion", scope: .catalogWrite, handler: desk.operatorOnly(replace))
        operations.delete(one, "deletePlanVersion", scope: .catalogWrite, handler: desk.operatorOnly(delete))
        operations.post(
            "\(one)/publish",
            "publishPlanVersion",
            scope: .catalogWrite,
            handler: desk.operatorOnly(publish)
        )
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let key = try request.parameter("key")
        let query = request.query()
        let page = query.page()
        try query.finish()
        let versions = try await desk.read(context) { transaction in
            let plan = try PlanRoutes.existing(key, in: transaction).plan
            let last = page.afterKey.flatMap { Int($0) }
            return try PlanVersionStore.list(plan: plan.id, before: last, limit: page.fetchCount, in: transaction)
        }
        return try .json(page.page(versions) { [String($0.version)] }.map(PlanVersionBody.init))
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let name = try VersionName(request)
        let record = try await desk.read(context) { try Self.existing(name, in: $0) }
        return try .json(PlanVersionBody(record), revision: record.revision)
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let key = try request.parameter("key")
        let draft = try PlanDraft.read(try request.fields(), isStored: false)
        let now = context.clock.now()
        return try await desk.writeCatalog(request, context) { transaction in
            _ = try CatalogVersion.bump(in: transaction)
            let plan = try PlanRoutes.existing(key, in: transaction).plan
            let record = PlanVersionRecord(
                id: try PlanVersionStore.nextID(in: transaction),
                plan: plan,
                version: try PlanVersionStore.nextNumber(of: plan.id, in: transaction),
                status: .draft,
                definition: try PlanVersionService.definition(of: draft, in: transaction),
                createdAt: now,
                updatedAt: now,
                revision: 1
            )
            try PlanVersionStore.insert(record, in: transaction)
            try Self.audit("created", record, by: context, before: nil, after: record, in: transaction)
            let location = "/plans/\(plan.key)/versions/\(record.version)"
            return try .created(PlanVersionBody(record), location: location, revision: record.revision)
        }
    }

    private func replace(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let name = try VersionName(request)
        let draft = try PlanDraft.read(try request.fields(), isStored: false)
        let now = context.clock.now()
        return try await desk.writeCatalog(request, context) { transaction in
            let before = try Self.lockedDraft(name, request, in: transaction)
            var after = before
            after.definition = try PlanVersionService.definition(of: draft, in: transaction)
            after.updatedAt = now
            after.revision += 1
            try PlanVersionStore.update(after, in: transaction)
            try Self.audit("updated", after, by: context, before: before, after: after, in: transaction)
            return try .json(PlanVersionBody(after), revision: after.revision)
        }
    }

    private func delete(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let name = try VersionName(request)
        return try await desk.writeCatalog(request, context) { transaction in
            let record = try Self.lockedDraft(name, request, in: transaction)
            try PlanVersionStore.deleteDraft(record.id, in: transaction)
            try Self.audit("deleted", record, by: context, before: record, after: nil, in: transaction)
            return .noContent
        }
    }

    private func publish(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let name = try VersionName(request)
        try request.fields(emptyIsObject: true).finish()
        let now = context.clock.now()
        return try await desk.writeCatalog(request, context) { transaction in
            let found = try Self.existing(name, in: transaction)
            if found.status == .published {
                try request.ifMatch.require(found.revision)
                return try PlanVersionService.publishedAnswer(found, in: transaction)
            }
            _ = try CatalogVersion.bump(in: transaction)
            let before = try Self.existing(name, in: transaction)
            try request.ifMatch.require(before.revision)
            guard before.status == .draft else {
                return try PlanVersionService.publishedAnswer(before, in: transaction)
            }
            var after = before
            after.status = .published
            after.publishedAt = now
            after.updatedAt = now
            after.revision += 1
            try PlanVersionStore.update(after, in: transaction)
            try Self.audit("published", after, by: context, before: before, after: after, in: transaction)
            return try PlanVersionService.publishedAnswer(after, in: transaction)
        }
    }

    /// A draft that nobody else can change or publish until this transaction ends.
    private static func lockedDraft(
        _ name: VersionName,
        _ request: APIRequest,
        in transaction: borrowing Transaction
    ) throws -> PlanVersionRecord {
        _ = try CatalogVersion.bump(in: transaction)
        let record = try existing(name, in: transaction)
        guard record.status == .draft else {
            throw CatalogFault.planVersionPublished(plan: name.plan, version: record.version)
        }
        try request.ifMatch.require(record.revision)
        return record
    }

    private static func existing(
        _ name: VersionName,
        in transaction: borrowing Transaction
    ) throws -> PlanVersionRecord {
        let plan = try PlanRoutes.existing(name.plan, in: transaction).plan
        guard let number = name.number,
            let record = try PlanVersionStore.find(plan: plan.key, version: number, in: transaction)
        else {
            throw CatalogFault.notFound(.planVersion, "\(name.plan) v\(name.text)")
        }
        return record
    }

    private static func audit(
        _ action: String,
        _ record: PlanVersionRecord,
        by context: RequestContext,
        before: PlanVersionRecord?,
        after: PlanVersionRecord?,
        in transaction: borrowing Transaction
    ) throws {
        try CatalogDesk.audit(
            action,
            .planVersion,
            "\(record.plan.key)/\(record.version)",
            by: context,
            before: before.map(PlanVersionBody.init),
            after: after.map(PlanVersionBody.init),
            in: transaction
        )
    }
}

/// A plan version as the path names it.
private struct VersionName: Sendable {
    let plan: String
    let text: String

    init(_ request: APIRequest) throws {
        plan = try request.parameter("key")
        text = try request.parameter("version")
    }

    /// Nil names nothing, like a number that was never given out.
    var number: Int? {
        Int32(text).flatMap { $0 > 0 ? Int($0) : nil }
    }
}
