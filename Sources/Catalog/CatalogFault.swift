package import BillingCore
import HTTPTypes
package import Web

/// Why this room refuses a request that is well formed in itself. `problem` says what the caller is told.
package enum CatalogFault: Error, Sendable, Equatable {
    /// A resource of this kind that a caller may change or act on.
    package enum Resource: String, Sendable {
        case tenant, meter, feature, plan
        case planVersion = "plan_version"
        case subscription
        case price
        case fxRate = "fx_rate"
    }

    case notFound(Resource, String)
    case keyTaken(Resource, String)
    /// Subjects that belong to somebody already, with where each stands in the request.
    case subjectsTaken([SubjectInUse])
    case meterInUse(String, features: [String])
    case featureInUse(String, planVersions: [String])
    case planVersionPublished(plan: String, version: Int)
    case planVersionNotPublished(plan: String, version: Int?)
    case subscriptionOverlaps(tenant: String)
    case subscriptionEnded(SubscriptionID)
    case tenantSuspended(String)
    case timezoneInUse(String)
    case currencyMismatch(plan: String, planCurrency: String, tenantCurrency: String)
    /// The caller is bound to a tenant, and this changes what other tenants share.
    case operatorOnly
    /// A stored row that no release of the service writes.
    case unreadable(table: String, key: String)

    package struct SubjectInUse: Sendable, Equatable {
        package let pointer: String
        package let subject: String
    }
}

extension CatalogFault {
    package var problem: Problem {
        switch self {
        case .notFound(let resource, let key):
            .notFound(resource.rawValue, key)
        case .keyTaken(let resource, let key):
            .alreadyExists(resource.rawValue, key)
        case .subjectsTaken(let subjects):
            Problem(
                .conflict,
                code: "subject_taken",
                detail: "Another tenant, or a tenant's key, has the subject \(Self.list(subjects.map(\.subject))).",
                errors: subjects.map {
                    .init(pointer: $0.pointer, code: "taken", detail: "'\($0.subject)' names a tenant already.")
                }
            )
        case .meterInUse(let key, let features):
            .conflict(
                code: "meter_in_use",
                detail: "The meter '\(key)' feeds the feature \(Self.list(features)). Archive that first."
            )
        case .featureInUse(let key, let versions):
            .conflict(
                code: "feature_in_use",
                detail: "The feature '\(key)' is named by the plan version \(Self.list(versions))."
            )
        case .subscriptionOverlaps(let tenant):
            .conflict(
                code: "subscription_overlaps",
                detail: "The tenant '\(tenant)' has a subscription for part of that time. Cancel it first."
            )
        case .subscriptionEnded(let id):
            .conflict(code: "subscription_ended", detail: "The subscription \(id) has ended already.")
        case .tenantSuspended(let key):
            .conflict(code: "tenant_suspended", detail: "The tenant '\(key)' is suspended. Resume it first.")
        case .timezoneInUse(let key):
            .conflict(
                code: "timezone_in_use",
                detail: "Quotas of the tenant '\(key)' count in windows of its time zone, so it cannot change any more."
            )
        case .planVersionPublished, .planVersionNotPublished, .currencyMismatch:
            planProblem
        case .operatorOnly:
            .forbidden(
                code: "operator_only",
                detail: "This credential is bound to a tenant; what all tenants share needs an operator's."
            )
        case .unreadable:
            .internalError(self)
        }
    }

    private var planProblem: Problem {
        switch self {
        case .planVersionPublished(let plan, let version):
            .conflict(
                code: "plan_version_published",
                detail: "Version \(version) of the plan '\(plan)' is published and cannot change. Draft another."
            )
        case .planVersionNotPublished(let plan, let version):
            .conflict(
                code: "plan_version_not_published",
                detail: version.map { "Version \($0) of the plan '\(plan)' is a draft. Publish it first." }
                    ?? "The plan '\(plan)' has no published version."
            )
        case .currencyMismatch(let plan, let planCurrency, let tenantCurrency):
            Problem(
                .conflict,
                code: "currency_mismatch",
                detail: "The plan '\(plan)' is in \(planCurrency), the tenant is billed in \(tenantCurrency).",
                errors: [
                    .init(pointer: "/plan", code: "currency_mismatch", detail: "Choose a plan in \(tenantCurrency).")
                ]
            )
        default:
            .internalError(self)
        }
    }

    private static func list(_ names: [String]) -> String {
        let shown = names.prefix(10).map { "'\($0)'" }.joined(separator: ", ")
        return names.count > 10 ? "\(shown) and \(names.count - 10) more" : shown
    }
}
