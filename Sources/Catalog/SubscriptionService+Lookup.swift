import BillingCore
import Postgres
import Web

extension SubscriptionService {
    /// A tenant the caller must not know of is reported like one that does not exist.
    func lockedTenant(
        _ key: String,
        boundTo bound: TenantID?,
        in transaction: borrowing Transaction
    ) throws -> Tenant {
        let unknown = ValidationFailure([
            FieldFault(pointer: "/tenant", code: "unknown_tenant", detail: "there is no tenant \"\(key)\"")
        ])
        guard let found = try TenantStore.find(key: key, in: transaction), bound == nil || found.id == bound else {
            throw unknown
        }
        try TenantLedger.lockAndBump(found.id, in: transaction)
        guard let tenant = try TenantStore.find(key: key, in: transaction) else { throw unknown }
        return tenant
    }

    /// The published version with a number, or the latest.
    func publishedVersion(
        of plan: String,
        _ number: Int?,
        in transaction: borrowing Transaction
    ) throws -> PlanVersionRecord {
        guard try PlanStore.find(key: plan, in: transaction) != nil else {
            throw ValidationFailure([
                FieldFault(pointer: "/plan", code: "unknown_plan", detail: "there is no plan \"\(plan)\"")
            ])
        }
        guard let number else {
            guard let latest = try PlanVersionStore.latestPublished(plan: plan, in: transaction) else {
                throw CatalogFault.planVersionNotPublished(plan: plan, version: nil)
            }
            return latest
        }
        guard let version = try PlanVersionStore.find(plan: plan, version: number, in: transaction) else {
            let detail = "the plan \"\(plan)\" has no version \(number)"
            throw ValidationFailure([FieldFault(pointer: "/version", code: "unknown_version", detail: detail)])
        }
        guard version.status == .published else {
            throw CatalogFault.planVersionNotPublished(plan: plan, version: number)
        }
        return version
    }

    /// The overrides with their features looked up; nil where there are none.
    func overrides(_ draft: PlanDraft?, in transaction: borrowing Transaction) throws -> PlanOverrides? {
        guard let draft else { return nil }
        if !draft.featureKeys.isEmpty { try CatalogVersion.hold(in: transaction) }
        let features = try PlanVersionService.metered(draft.featureKeys, in: transaction)
        let overrides = try PlanOverrides(draft, features: features, at: "/overrides")
        return overrides.isEmpty ? nil : overrides
    }
}

extension PlanVersionRecord {
    /// Refuses a plan in another currency than the tenant is billed in.
    func requireCurrency(of tenant: Tenant) throws(CatalogFault) {
        guard plan.currency != tenant.currency else { return }
        throw .currencyMismatch(
            plan: plan.key,
            planCurrency: plan.currency.code,
            tenantCurrency: tenant.currency.code
        )
    }
}

extension Subscription.Segment {
    init(_ ordinal: Int, of version: PlanVersionRecord, overrides: PlanOverrides?, from start: Instant, now: Instant) {
        self.init(
            ordinal: ordinal,
            planVersionID: version.id,
            planKey: version.plan.key,
            version: version.version,
            startsAt: start,
            overrides: overrides?.json,
            createdAt: now
        )
    }
}
