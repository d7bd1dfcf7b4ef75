package import BillingCore
package import Web

/// The body of a new budget. What depends on other things that exist (tenants, features, plans) is judged by
/// `BudgetService`.
package struct BudgetInput: Sendable {
    package let key: String
    package let scope: BudgetScope
    package let measure: LimitMeasure
    package let bound: BudgetBound
    package let thresholds: [Percent]
    package let alertsOnForecast: Bool
    package let failurePolicy: FailurePolicy
    package let fallbackUnitAmount: FixedDecimal?
    /// The key of the budget in whose place it is to stand.
    package let overrides: String?

    /// What belongs to an amount in windows, and has no place beside a rate.
    private static let windowFields = ["amount", "currency", "window", "mode", "fallback_unit_amount"]

    /// - Parameters:
    ///   - tenant: the key of the tenant that the caller is bound to, which is whose a scope without one is.
    ///   - costCurrency: the operator's, in which every provider cost is.
    package static func read(
        _ fields: JSONObjectReader,
        of tenant: String?,
        costCurrency: Currency
    ) throws -> BudgetInput {
        let key = fields.key("key")
        var scope = fields.object("scope") { BudgetScope.read($0) } ?? BudgetScope()
        if scope.tenant == nil { scope.tenant = tenant.map(ScopeMatch.exact) }
        let measure = fields.choice("measure", of: LimitMeasure.self)
        let bound: BudgetBound
        var thresholds = fields.thresholds()
        let forecast = fields.bool("forecast", default: false)
        if fields.contains("rate") {
            var foreign = windowFields.filter(fields.contains)
            // That it raises no alerts may be said.
            if thresholds?.isEmpty == false { foreign.append("thresholds") }
            if forecast { foreign.append("forecast") }
            for field in foreign {
                fields.fault(at: field, code: "not_applicable", detail: "\"\(field)\" has no place beside \"rate\"")
            }
            bound = .rate(fields.object("rate", RateLimit.read) ?? .placeholder)
            thresholds = []
            rejectForRate(measure, fields)
        } else {
            bound = .window(readWindow(of: measure, scope, costCurrency, fields))
        }
        let mode = if case .window(let window) = bound { window.mode } else { LimitMode.hard }
        if forecast, fields.contains("window"), case .window(let window) = bound, window.kind == .lifetime {
            fields.fault(at: "forecast", code: "not_applicable", detail: Self.noForecast)
        }
        let failurePolicy = fields.choice("on_failure", default: FailurePolicy(of: mode))
        let fallback = fields.fallbackUnitAmount()
        let overrides = fields.optionalKey("overrides")
        try fields.finish()
        guard let measure else { throw CatalogFault.unreadable(table: "budget", key: key) }
        return BudgetInput(
            key: key,
            scope: scope,
            measure: measure,
            bound: bound,
            thresholds: thresholds ?? Limit.defaultThresholds,
            alertsOnForecast: forecast,
            failurePolicy: failurePolicy,
            fallbackUnitAmount: fallback,
            overrides: overrides
        )
    }

    static let noForecast = "a \"lifetime\" has no end that could be foretold: \"forecast\" must be false"

    private static func rejectForRate(_ measure: LimitMeasure?, _ fields: JSONObjectReader) {
        guard let measure, measure != .requests, measure != .tokens else { return }
        fields.fault(
            at: "measure",
            code: "not_applicable",
            detail: "a rate counts \"requests\" or \"tokens\", not \"\(measure.rawValue)\""
        )
    }

    private static func readWindow(
        of measure: LimitMeasure?,
        _ scope: BudgetScope,
        _ costCurrency: Currency,
        _ fields: JSONObjectReader
    ) -> BudgetWindow {
        let window = BudgetWindow(
            amount: fields.decimal("amount", minimum: .zero),
            kind: fields.choice("window", of: WindowKind.self) ?? .lifetime,
            mode: fields.choice("mode", default: .hard),
            currency: readCurrency(of: measure, costCurrency, fields)
        )
        if measure == .tokens {
            let detail = "\"tokens\" are counted by rates only; an amount of them is \"units\" of a feature"
            fields.fault(at: "measure", code: "not_applicable", detail: detail)
        }
        if let measure, !measure.isMoney, fields.contains("fallback_unit_amount") {
            let detail = "it is the price of a token, for a \"charge\" or a \"cost\" only"
            fields.fault(at: "fallback_unit_amount", code: "not_applicable", detail: detail)
        }
        if measure == .units, scope.exact(.feature) == nil {
            let detail = "\"units\" are those of one feature: name it in \"scope\""
            fields.fault(at: "scope/feature", code: "required", detail: detail)
        }
        if window.kind == .billingPeriod, scope.tenant == nil {
            let detail = "a billing period is a tenant's: name one, or each (\"*\"), in \"scope\""
            fields.fault(at: "scope/tenant", code: "required", detail: detail)
        }
        return window
    }

    private static func readCurrency(
        of measure: LimitMeasure?,
        _ costCurrency: Currency,
        _ fields: JSONObjectReader
    ) -> Currency? {
        let currency = fields.optionalValue("currency", expecting: "an ISO 4217 code in capitals") { Currency($0) }
        guard let measure else { return currency }
        guard measure.isMoney else {
            if fields.contains("currency") {
                let detail = "\"\(measure.rawValue)\" are no amount of money"
                fields.fault(at: "currency", code: "not_applicable", detail: detail)
            }
            return nil
        }
        guard fields.contains("currency") else {
            let detail = "\"currency\" is required for an amount of money"
            fields.fault(at: "currency", code: "required", detail: detail)
            return nil
        }
        if let currency, measure == .cost, currency != costCurrency {
            let detail = "provider costs are in \(costCurrency): \"currency\" must be that"
            fields.fault(at: "currency", code: "currency_mismatch", detail: detail)
        }
        return currency
    }
}

extension RateLimit {
    /// More than any gateway takes.
    static let maximumLimit: Int64 = 1_000_000_000_000

    /// Stands in for one that a fault was recorded of.
    fileprivate static let placeholder = RateLimit(limit: 1, period: .second, burst: 1)

    fileprivate static func read(_ fields: JSONObjectReader) -> RateLimit {
        let limit = fields.integer("limit", in: 1...maximumLimit)
        let given = fields.optionalInteger("default_percent", in: 1...100) as Int32?
        let usual = min(sheddablePercent, given ?? sheddablePercent)
        let sheddable = fields.integer("sheddable_percent", in: 1...100, default: usual)
        let ordinary = given ?? max(defaultPercent, sheddable)
        fields.requireOrder(sheddable: sheddable, ordinary: ordinary)
        return RateLimit(
            limit: limit,
            period: fields.choice("period", of: RatePeriod.self) ?? .second,
            burst: fields.integer("burst", in: 1...maximumLimit, default: limit),
            sheddablePercent: sheddable,
            defaultPercent: ordinary
        )
    }
}

// MARK: Members that a new budget and a change of one have in common

extension JSONObjectReader {
    private static let maximumThresholds = 10
    private static let maximumThreshold = FixedDecimal(1_000)

    /// Percentages of the amount, ascending; nil when absent or faulty.
    func thresholds() -> [Percent]? {
        guard let numbers = numbers("thresholds", maximumCount: Self.maximumThresholds) else { return nil }
        var thresholds: [Percent] = []
        for (index, number) in numbers.enumerated() {
            let path = "thresholds/\(index)"
            guard number > .zero, number <= Self.maximumThreshold, let percent = Percent(number) else {
                let detail = "a threshold is above 0 and at most 1000, with at most 10 fractional digits"
                fault(at: path, code: "out_of_range", detail: detail)
                continue
            }
            if let last = thresholds.last, number <= last.value {
                let isRepeated = number == last.value
                let detail = isRepeated ? "each threshold stands once" : "thresholds stand in ascending order"
                fault(at: path, code: isRepeated ? "duplicate" : "out_of_order", detail: detail)
            }
            thresholds.append(percent)
        }
        return thresholds
    }

    func fallbackUnitAmount() -> FixedDecimal? {
        optionalDecimal("fallback_unit_amount", minimum: .zero, maximum: PriceInput.maximumUnitAmount)
    }

    func requireOrder(sheddable: Int32, ordinary: Int32) {
        guard sheddable > ordinary else { return }
        let detail = "\"sheddable_percent\" must be at most \"default_percent\", which is \(ordinary)"
        fault(at: "sheddable_percent", code: "out_of_range", detail: detail)
    }
}
