package import BillingCore
import Web

/// What the API shows of a budget, without what is used of it.
package struct BudgetBody: Encodable, Sendable {
    let key: String
    let scope: JSONValue
    let measure: String
    /// Absent for a rate, as are currency, window and mode.
    let amount: String?
    let currency: String?
    let window: String?
    let mode: String?
    /// Absent for an amount.
    let rate: JSONValue
    let thresholds: JSONValue
    let forecast: Bool
    let onFailure: String
    let fallbackUnitAmount: FixedDecimal?
    let managedBy: String
    let overrides: String?
    let createdAt: Instant
    let updatedAt: Instant
    let archivedAt: Instant?

    package init(_ budget: Budget) {
        key = budget.key
        scope = budget.scope.json
        measure = budget.measure.rawValue
        amount = budget.window.map { $0.shown($0.amount) }
        currency = budget.window?.currency?.code
        window = budget.window?.kind.rawValue
        mode = budget.window?.mode.rawValue
        rate = budget.rate?.json ?? .null
        thresholds = .array(budget.thresholds.map { .number($0.value.description) })
        forecast = budget.alertsOnForecast
        onFailure = budget.failurePolicy.rawValue
        fallbackUnitAmount = budget.fallbackUnitAmount
        managedBy = budget.managedBy.rawValue
        overrides = budget.overridden?.key
        createdAt = budget.createdAt
        updatedAt = budget.updatedAt
        archivedAt = budget.archivedAt
    }
}

extension BudgetWindow {
    /// An amount of what the window bounds: money with the digits of its currency.
    package func shown(_ amount: FixedDecimal) -> String {
        currency?.formatted(amount) ?? amount.description
    }
}

extension RateLimit {
    fileprivate var json: JSONValue {
        .members([
            "burst": .number(String(burst)), "default_percent": .number(String(defaultPercent)),
            "limit": .number(String(limit)), "period": .string(period.rawValue),
            "sheddable_percent": .number(String(sheddablePercent)),
        ])
    }
}
