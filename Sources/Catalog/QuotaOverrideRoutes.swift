import BillingCore
import Postgres
import Web

/// `PUT` and `DELETE /tenants/{key}/quotas/{feature}`: a tenant's own quota in place of its plan's. What is left of
/// the quotas in force is read in the room Limits.
struct QuotaOverrideRoutes: Sendable {
    let desk: CatalogDesk
    let usage: StoredUsageAccess

    func register(in operations: Operations) {
        let path = "/tenants/{key}/quotas/{feature}"
        operations.put(path, "overrideQuota", scope: .subscriptionsWrite, readsQuery: true) { try await put($0, $1) }
        operations.delete(path, "removeQuotaOverride", scope: .subscriptionsWrite, readsQuery: true) {
            try await remove($0, $1)
        }
    }

    private func put(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let name = try Name(request, context)
        try desk.requireOperator(context)
        let input = try QuotaOverrideInput.read(try request.fields())
        return try await change(name, "set", request, context) { feature, existing, now in
            guard feature.meter.definition.aggregation.acceptsHardLimits else {
                let aggregation = feature.meter.definition.aggregation.rawValue
                let detail = "quotas count sum and count only; \"\(name.feature)\" is \(aggregation)"
                throw Problem.validationFailed([.init(pointer: "", code: "not_applicable", detail: detail)])
            }
            guard feature.feature.archivedVersion == nil else {
                let detail = "the feature \"\(name.feature)\" is archived"
                throw Problem.validationFailed([.init(pointer: "", code: "archived", detail: detail)])
            }
            if let existing, existing.says(input) { return existing }
            return QuotaOverride(
                featureID: feature.feature.id,
                featureKey: feature.feature.key,
                window: name.window,
                limit: input.limit,
                mode: input.mode,
                overage: input.overage,
                isActive: true,
                createdAt: existing.flatMap { $0.isActive ? $0.createdAt : nil } ?? now,
                updatedAt: now,
                revision: (existing?.revision ?? 0) + 1
            )
        }
    }

    private func remove(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let name = try Name(request, context)
        try desk.requireOperator(context)
        return try await change(name, "removed", request, context) { _, existing, now in
            guard var quota = existing, quota.isActive else {
                throw CatalogFault.notFound(.quotaOverride, "\(name.feature) \(name.window.rawValue)")
            }
            quota.isActive = false
            quota.updatedAt = now
            quota.revision += 1
            return quota
        }
    }

    /// Changes an override under the tenant's ledger lock, puts it in force, and records who did.
    private func change(
        _ name: Name,
        _ action: String,
        _ request: APIRequest,
        _ context: RequestContext,
        _ decide: @escaping @Sendable (MeteredFeature, QuotaOverride?, Instant) throws -> QuotaOverride
    ) async throws -> Answer {
        let now = context.clock.now()
        let answer = try await desk.write(request, context) { transaction in
            let tenant = try TenantService.lock(name.tenant, in: transaction)
            try CatalogVersion.hold(in: transaction)
            guard let feature = try PlanVersionService.metered([name.feature], in: transaction)[name.feature] else {
                throw CatalogFault.notFound(.feature, name.feature)
            }
            let id = feature.feature.id
            let before = try QuotaOverrideStore.find(id, name.window, of: tenant.id, in: transaction)
            try request.ifMatch.require(before?.revision ?? 0)
            let after = try decide(feature, before, now)
            guard after.revision != before?.revision else {
                return try .json(QuotaOverrideBody(after), revision: after.revision)
            }
            try QuotaOverrideStore.store(after, of: tenant.id, in: transaction)
            try LimitsInForce.applyAndCount(
                to: tenant.id,
                at: now,
                limitsFrom: now,
                catalog: desk.catalog,
                usage: usage,
                in: transaction
            )
            try CatalogDesk.audit(
                action,
                .quotaOverride,
                "\(tenant.key)/\(after.featureKey)/\(after.window.rawValue)",
                by: context,
                before: before.flatMap { $0.isActive ? QuotaOverrideBody($0) : nil },
                after: after.isActive ? QuotaOverrideBody(after) : nil,
                tenant: tenant.id,
                in: transaction
            )
            guard after.isActive else { return .noContent }
            return try .json(QuotaOverrideBody(after), revision: after.revision)
        }
        desk.catalog.invalidate(tenantKey: name.tenant)
        return answer
    }
}

/// A quota as path and query name it.
private struct Name: Sendable {
    let tenant: String
    let feature: String
    let window: WindowKind

    init(_ request: APIRequest, _ context: RequestContext) throws {
        tenant = try context.tenantKey(in: request)
        feature = try request.parameter("feature")
        let query = request.query()
        let window = query.oneOf("window", WindowKind.self)
        if query.string("window") == nil {
            query.fault("window", code: "required", detail: "This is required: a feature may have several quotas.")
        }
        try query.finish()
        self.window = window ?? .billingPeriod
    }
}
