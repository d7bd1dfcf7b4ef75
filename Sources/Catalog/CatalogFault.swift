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
        case quotaOverride = "quota_override"
        case budget, mitigation
    }

    case notFound(Resource, String)
    case keyTaken(Resource, String)
    /// By a budget that is archived: what its rows counted is never another's.
    case keyOfArchivedBudget(String)
    /// Subjects that belong to somebody already, with where each stands in the request.
    case subjectsTaken([SubjectInUse])
    case meterInUse(String, features: [String])
    case featureInUse(String, planVersions: [String])
    case featureOverridden(String, tenants: [String])
    case featureBudgeted(String, budgets: [String])
    /// An operator made it for the tenant, whose caller would change it.
    case budgetOfOperator(String)
    case budgetArchived(String)
    /// Several tenants have a budget of the key, and the caller doesn't say whose is meant.
    case budgetAmbiguous(String)
    /// A tenant has made as many as it may have in force.
    case tooManyBudgets(tenant: String, limit: Int, divided: Bool)
    case planVersionPublished(plan: String, version: Int)
    case planVersionNotPublished(plan: String, version: Int?)
    case subscriptionOverlaps(tenant: String)
    case subscriptionEnded(SubscriptionID)
    /// There is nothing to resume.
    case subscriptionNotCancelled(SubscriptionID)
    /// The change would come when the subscription has ended.
    case changeAfterEnd(SubscriptionID, end: Instant)
    case noChangeScheduled(SubscriptionID)
    /// Usage is rated under a change that has not come, so it cannot be withdrawn any more.
    case changeHasUsage(SubscriptionID)
    case tooManyChanges(SubscriptionID, limit: Int)
    case tooManySubscriptions(String, limit: Int)
    /// Those that are archived too.
    case tooManyBudgetsEver(tenant: String, limit: Int)
    case tenantSuspended(String)
    case timezoneInUse(String)
    /// The invoice stands, and has tax reckoned the other way.
    case taxInclusionInUse(String, invoice: String)
    /// The invoice stands, and was taxed by the rate of this key with another percentage.
    case taxRateInUse(String, rate: String, invoice: String)
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
        case .keyOfArchivedBudget(let key):
            .alreadyExists(
                Resource.budget.rawValue,
                key,
                detail: "The budget '\(key)' is archived and keeps its key. Take another one."
            )
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
                detail: """
                    The feature '\(key)' is named by the plan version \(Self.list(versions)). A draft can be changed \
                    or deleted; what is published keeps its features.
                    """
            )
        case .featureOverridden(let key, let tenants):
            .conflict(
                code: "feature_in_use",
                detail: """
                    The feature '\(key)' has a price or quota of its own for \(Self.list(tenants)). A tenant's quota \
                    can be removed; what a subscription was given keeps its features.
                    """
            )
        case .featureBudgeted, .budgetOfOperator, .budgetArchived, .budgetAmbiguous, .tooManyBudgets,
            .tooManyBudgetsEver:
            budgetProblem
        case .subscriptionOverlaps, .subscriptionEnded, .subscriptionNotCancelled, .changeAfterEnd, .noChangeScheduled,
            .changeHasUsage, .tooManyChanges, .tooManySubscriptions:
            subscriptionProblem
        case .tenantSuspended(let key):
            .conflict(code: "tenant_suspended", detail: "The tenant '\(key)' is suspended. Resume it first.")
        case .timezoneInUse(let key):
            .conflict(
                code: "timezone_in_use",
                detail: """
                    Quotas, a spend cap or budgets count in windows of the time zone of the tenant '\(key)', so it \
                    can't change any more; where it is a budget alone, archive that.
                    """
            )
        case .taxInclusionInUse(let key, let invoice):
            .conflict(
                code: "tax_inclusion_in_use",
                detail: """
                    The invoice \(invoice) of the tenant '\(key)' has tax and stands, so whether prices contain tax \
                    ('billing.tax.inclusive') cannot change: what is given back of it would not be what was charged.
                    """
            )
        case .taxRateInUse(let key, let rate, let invoice):
            .conflict(
                code: "tax_rate_in_use",
                detail: """
                    The invoice \(invoice) of the tenant '\(key)' was taxed by '\(rate)' with another percentage and \
                    stands: what is given back of it would be under a wrong one. Give the new rate a key of its own.
                    """
            )
        case .planVersionPublished, .planVersionNotPublished, .currencyMismatch:
            planProblem
        case .operatorOnly:
            .forbidden(
                code: "operator_only",
                detail: "This credential is bound to a tenant; this needs an operator's."
            )
        case .unreadable:
            .internalError(self)
        }
    }

    private var subscriptionProblem: Problem {
        switch self {
        case .subscriptionOverlaps(let tenant):
            .conflict(
                code: "subscription_overlaps",
                detail: "The tenant '\(tenant)' has a subscription for part of that time. Cancel it first."
            )
        case .subscriptionEnded(let id):
            .conflict(code: "subscription_ended", detail: "The subscription \(id) has ended already.")
        case .subscriptionNotCancelled(let id):
            .conflict(
                code: "subscription_not_cancelled",
                detail: "The subscription \(id) goes on; there is no cancellation to take back."
            )
        case .changeAfterEnd(let id, let end):
            .conflict(
                code: "change_after_end",
                detail: "The subscription \(id) ends at \(end), before the change. Resume it first."
            )
        case .noChangeScheduled(let id):
            .conflict(code: "no_change_scheduled", detail: "No change of the subscription \(id) is still to come.")
        case .changeHasUsage(let id):
            .conflict(
                code: "change_has_usage",
                detail: "Usage is rated under the change of the subscription \(id) already. Change it again instead."
            )
        case .tooManyChanges(let id, let limit):
            .conflict(
                code: "too_many_changes",
                detail: "The subscription \(id) has changed \(limit) times. Cancel it and subscribe again."
            )
        case .tooManySubscriptions(let tenant, let limit):
            .conflict(
                code: "too_many_subscriptions",
                detail: "The tenant '\(tenant)' has had \(limit) subscriptions. Change the one it is on instead."
            )
        default:
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

    private var budgetProblem: Problem {
        switch self {
        case .featureBudgeted(let key, let budgets):
            .conflict(
                code: "feature_in_use",
                detail: "The feature '\(key)' is in the scope of the budget \(Self.list(budgets)). Archive that first."
            )
        case .budgetOfOperator(let key):
            .forbidden(
                code: "managed_by_operator",
                detail: "The budget '\(key)' was made by the operator, who alone can change it."
            )
        case .budgetArchived(let key):
            .conflict(code: "budget_archived", detail: "The budget '\(key)' is archived and cannot change any more.")
        case .budgetAmbiguous(let key):
            .conflict(
                code: "ambiguous_key",
                detail: "Several tenants have a budget '\(key)'. Say whose is meant: ?tenant=KEY."
            )
        case .tooManyBudgets(let tenant, let limit, let divided):
            .conflict(
                code: "too_many_budgets",
                detail:
                    "The tenant '\(tenant)' has made \(limit) budgets\(divided ? " with \"*\" in their scope" : ""), "
                    + "as many as it may have. Archive some first."
            )
        case .tooManyBudgetsEver(let tenant, let limit):
            .conflict(
                code: "too_many_budgets",
                detail: """
                    The tenant '\(tenant)' has made \(limit) budgets, archived ones too, as many as it may ever make. \
                    Change one that is in force.
                    """
            )
        default:
            .internalError(self)
        }
    }

    private static func list(_ names: [String]) -> String {
        let shown = names.prefix(10).map { "'\($0)'" }.joined(separator: ", ")
        return names.count > 10 ? "\(shown) and more" : shown
    }
}
