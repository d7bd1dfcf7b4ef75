package import BillingCore
package import Web

/// A change of a budget (RFC 7396): absent members stay, null clears. What a budget counts, and over which windows,
/// never changes: what was counted so far would mean something else.
package struct BudgetPatch: Sendable {
    private let amount: FixedDecimal?
    private let mode: LimitMode?
    private let thresholds: [Percent]?
    private let alertsOnForecast: Bool?
    private let failurePolicy: FailurePolicy?
    private let fallbackUnitAmount: TenantPatch.Change<FixedDecimal>
    private let rate: RatePatch?

    private struct RatePatch: Sendable {
        let limit: Int64?
        let burst: Int64?
        let sheddablePercent: Int32?
        let defaultPercent: Int32?
    }

    package static func read(_ body: JSONValue) throws -> BudgetPatch {
        let fields = JSONObjectReader(body)
        fields.rejectImmutable(["key", "scope", "measure", "currency", "window", "overrides"], of: "a budget")
        fields.rejectNull(["amount", "mode", "thresholds", "forecast", "on_failure", "rate"])
        let fallback = fields.fallbackUnitAmount()
        let patch = BudgetPatch(
            amount: fields.optionalDecimal("amount", minimum: .zero),
            mode: fields.contains("mode") ? fields.choice("mode") : nil,
            thresholds: fields.thresholds(),
            alertsOnForecast: fields.contains("forecast") ? fields.bool("forecast") : nil,
            failurePolicy: fields.contains("on_failure") ? fields.choice("on_failure") : nil,
            fallbackUnitAmount: body["fallback_unit_amount"] == nil ? .keep : .set(fallback),
            rate: fields.optionalObject("rate", readRate)
        )
        try fields.finish()
        return patch
    }

    private static func readRate(_ fields: JSONObjectReader) -> RatePatch {
        fields.rejectImmutable(["period"], of: "a rate")
        fields.rejectNull(["limit", "burst", "sheddable_percent", "default_percent"])
        return RatePatch(
            limit: fields.optionalInteger("limit", in: 1...RateLimit.maximumLimit),
            burst: fields.optionalInteger("burst", in: 1...RateLimit.maximumLimit),
            sheddablePercent: fields.optionalInteger("sheddable_percent", in: 1...100),
            defaultPercent: fields.optionalInteger("default_percent", in: 1...100)
        )
    }

    /// The budget with the change; the very same one where it changes nothing.
    package func applied(to budget: Budget, now: Instant) throws(ValidationFailure) -> Budget {
        let faults = faults(of: budget)
        guard faults.isEmpty else { throw ValidationFailure(faults) }
        var changed = budget
        switch budget.bound {
        case .window(var window):
            window.amount = amount ?? window.amount
            if let mode, mode != window.mode {
                window.mode = mode
                changed.failurePolicy = FailurePolicy(of: mode)
            }
            changed.bound = .window(window)
        case .rate(let limit):
            changed.bound = .rate(applied(to: limit))
        }
        changed.thresholds = thresholds ?? budget.thresholds
        changed.alertsOnForecast = alertsOnForecast ?? budget.alertsOnForecast
        changed.failurePolicy = failurePolicy ?? changed.failurePolicy
        changed.fallbackUnitAmount = fallbackUnitAmount.applied(to: budget.fallbackUnitAmount)
        guard changed != budget else { return budget }
        changed.updatedAt = now
        changed.revision += 1
        return changed
    }

    private func applied(to limit: RateLimit) -> RateLimit {
        var changed = limit
        changed.limit = rate?.limit ?? limit.limit
        changed.burst = rate?.burst ?? limit.burst
        changed.sheddablePercent = rate?.sheddablePercent ?? limit.sheddablePercent
        changed.defaultPercent = rate?.defaultPercent ?? limit.defaultPercent
        return changed
    }

    private func faults(of budget: Budget) -> [FieldFault] {
        var given: [String] = []
        switch budget.bound {
        case .window(let window):
            if alertsOnForecast == true, window.kind == .lifetime {
                let detail = BudgetInput.noForecast
                return [FieldFault(pointer: "/forecast", code: "not_applicable", detail: detail)]
            }
            if rate != nil { given.append("rate") }
            if case .set(.some) = fallbackUnitAmount, !budget.measure.isMoney { given.append("fallback_unit_amount") }
        case .rate(let limit):
            if amount != nil { given.append("amount") }
            if mode != nil { given.append("mode") }
            // That it raises no alerts may be said.
            if thresholds?.isEmpty == false { given.append("thresholds") }
            if alertsOnForecast == true { given.append("forecast") }
            if case .set(.some) = fallbackUnitAmount { given.append("fallback_unit_amount") }
            let changed = applied(to: limit)
            if changed.sheddablePercent > changed.defaultPercent {
                let detail =
                    "\"sheddable_percent\" (\(changed.sheddablePercent)) must be at most \"default_percent\" "
                    + "(\(changed.defaultPercent)); what is left out stays"
                let name = rate?.sheddablePercent == nil ? "default_percent" : "sheddable_percent"
                return [FieldFault(pointer: "/rate/\(name)", code: "out_of_range", detail: detail)]
            }
        }
        return given.map { name in
            let detail = "the budget \"\(budget.key)\" has no \"\(name)\""
            return FieldFault(pointer: "/\(name)", code: "not_applicable", detail: detail)
        }
    }
}
