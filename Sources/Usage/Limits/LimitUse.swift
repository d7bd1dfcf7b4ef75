package import BillingCore
package import Catalog
package import Limits
import Web

/// What one use adds to one row of a limit.
package struct LimitUse: Sendable {
    package enum Amount: Sendable, Hashable {
        case known(FixedDecimal)
        /// What the tenant is charged, for one feature or for all: known when the use has been counted.
        case charge(FeatureID?)
        /// The provider cost of the use is not known, or not in the limit's currency.
        case unpriced
    }

    package let limit: Limit
    package let row: LimitRow
    /// The row's window; all time for a rate.
    package let window: Interval
    package let amount: Amount

    /// The same of a limit in whose place another one stands.
    fileprivate var outOfForce: LimitUse {
        LimitUse(limit: Limit(outOfForce: limit), row: row, window: window, amount: amount)
    }
}

/// A use as limits see it: an event to be counted or taken out again, or a call that asks for admission.
package struct LimitedUse: Sendable {
    /// What the provider charges.
    enum Cost: Sendable {
        case none
        case unknown
        case amount(FixedDecimal, Currency)
    }

    let event: UsageEvent
    let time: Instant
    let measurements: [Measurement]
    let place: EventPlace?
    let cost: Cost

    package init(_ pending: PendingEvent) {
        event = pending.event
        time = pending.time
        measurements = pending.measurements
        place = pending.place
        cost =
            switch pending.cost {
            case .none: .none
            case .unpriced: .unknown
            case .priced(let call): .amount(call.amount, call.set.set.currency)
            }
    }

    init(_ stored: StoredEvent, measurements: [Measurement], place: EventPlace?) {
        event = stored.event
        time = stored.time
        self.measurements = measurements
        self.place = place
        if let amount = stored.cost?.amount, let currency = stored.cost?.currency {
            cost = .amount(amount, currency)
        } else {
            cost = stored.event.isModelCall ? .unknown : .none
        }
    }

    func value(of dimension: ScopeDimension) -> String? {
        switch dimension {
        case .provider: event.usage.provider
        case .user: event.usage.user
        case .model: event.usage.model
        case .costCenter: event.costCenter
        case .client: event.attribution.clientID
        case .plan: place?.planVersion.planKey
        case .tenant, .feature: nil
        }
    }
}

/// Tells which limits a use counts in, in which windows, and by how much: for ingest, voids and admission alike.
package struct LimitMatching {
    private let shared: CatalogSnapshot
    private var operatorWindows: WindowCache

    /// - Parameter operatorZone: whose days and months the windows of limits over all tenants are.
    package init(shared: CatalogSnapshot, operatorZone: Zone) {
        self.shared = shared
        operatorWindows = WindowCache(zone: operatorZone)
    }

    /// Every row that the use adds to, those of limits out of force too; rates only where they are asked for.
    /// - Parameter windows: those of the tenant's zone.
    package mutating func uses(
        of use: LimitedUse,
        by tenant: TenantSnapshot,
        windows: inout WindowCache,
        withRates: Bool = false
    ) -> [LimitUse] {
        var uses: [LimitUse] = []
        for limit in tenant.ownLimits { add(limit, use, tenant, &windows, withRates, to: &uses) }
        for limit in shared.sharedLimits { add(limit, use, tenant, &windows, withRates, to: &uses) }
        var overridden = Set(uses.lazy.compactMap { $0.limit.overrides })
        // What an override stands in place of does not come into force by usage of before it, which is only counted. A
        // call goes by its time: a replica whose clock is behind would ask neither.
        if !withRates {
            for limit in tenant.ownLimits { note(limit, of: use, by: tenant, in: &overridden) }
            for limit in shared.sharedLimits { note(limit, of: use, by: tenant, in: &overridden) }
        }
        return overridden.isEmpty ? uses : uses.map { overridden.contains($0.limit.id) ? $0.outOfForce : $0 }
    }

    /// Notes the limit in whose place another one stands for a use that is within its scope.
    private func note(
        _ limit: Limit,
        of use: LimitedUse,
        by tenant: TenantSnapshot,
        in overridden: inout Set<LimitID>
    ) {
        guard let other = limit.overrides, !overridden.contains(other) else { return }
        if !parts(of: use, in: limit, tenant: tenant).isEmpty { overridden.insert(other) }
    }

    private mutating func add(
        _ limit: Limit,
        _ use: LimitedUse,
        _ tenant: TenantSnapshot,
        _ windows: inout WindowCache,
        _ withRates: Bool,
        to uses: inout [LimitUse]
    ) {
        guard let countedFrom = limit.countedFrom, use.time >= countedFrom else { return }
        let window: Interval
        switch limit.bound {
        case .rate:
            guard withRates else { return }
            window = .allTime
        case .window(_, .billingPeriod, _, _):
            guard let period = use.place?.period else { return }
            window = period
        case .window(_, let kind, _, _):
            window =
                limit.isOperatorWide
                ? operatorWindows.window(kind, containing: use.time) : windows.window(kind, containing: use.time)
        }
        for part in parts(of: use, in: limit, tenant: tenant) {
            let row = LimitRow(
                tenant: limit.isOperatorWide ? .operatorWide : tenant.id,
                limit: limit.id,
                scopeValue: part.scopeValue,
                windowStart: window.start
            )
            uses.append(LimitUse(limit: limit, row: row, window: window, amount: part.amount))
        }
    }

    /// The rows' values and amounts: several only where each feature has a row of its own.
    private func parts(
        of use: LimitedUse,
        in limit: Limit,
        tenant: TenantSnapshot
    ) -> [(scopeValue: String, amount: LimitUse.Amount)] {
        if case .quota(let feature) = limit.origin {
            guard let amount = use.units(of: feature) else { return [] }
            return [("", .known(amount))]
        }
        guard let values = use.otherValues(in: limit.scope) else { return [] }
        return use.features(in: limit.scope, shared).compactMap { feature in
            guard let amount = amount(of: use, in: limit, feature: feature.id, tenant: tenant) else { return nil }
            let split = limit.scope.splitDimensions.map { dimension in
                dimension == .feature ? feature.key ?? "" : values[dimension] ?? ""
            }
            return (BudgetScope.scopeValue(split), amount)
        }
    }

    private func amount(
        of use: LimitedUse,
        in limit: Limit,
        feature: FeatureID?,
        tenant: TenantSnapshot
    ) -> LimitUse.Amount? {
        switch limit.measure {
        case .units: feature.flatMap(use.units).map(LimitUse.Amount.known)
        case .requests: .known(.one)
        case .tokens: use.event.usage.tokens.map { .known(FixedDecimal($0)) }
        case .charge: use.place == nil || tenant.currency != limit.currency ? nil : .charge(feature)
        case .cost: cost(of: use, in: limit.currency)
        }
    }

    private func cost(of use: LimitedUse, in currency: Currency?) -> LimitUse.Amount? {
        switch use.cost {
        case .none: return nil
        case .unknown: return .unpriced
        case .amount(let amount, let from):
            guard let currency else { return .unpriced }
            let conversion = CostConversion(from: from, to: currency, at: use.time, shared.costs.rates)
            return conversion.convert(amount).map(LimitUse.Amount.known) ?? .unpriced
        }
    }
}

extension LimitedUse {
    /// Its values in the dimensions that the scope names, but for tenant and feature; nil where it is outside.
    fileprivate func otherValues(in scope: BudgetScope) -> [ScopeDimension: String]? {
        var values: [ScopeDimension: String] = [:]
        for dimension in ScopeDimension.allCases where dimension != .tenant && dimension != .feature {
            guard let match = scope[dimension] else { continue }
            guard let value = value(of: dimension), match.admits(value) else { return nil }
            values[dimension] = value
        }
        return values
    }

    /// The features that it feeds and the scope names; one that is nil where it names none.
    fileprivate func features(
        in scope: BudgetScope,
        _ shared: CatalogSnapshot
    ) -> [(id: FeatureID?, key: String?)] {
        guard let match = scope.feature else { return [(nil, nil)] }
        return measurements.compactMap { measurement in
            guard let feature = shared.features[measurement.feature], match.admits(feature.key) else { return nil }
            return (feature.id, feature.key)
        }
    }

    /// What it adds to a feature that sums or counts.
    fileprivate func units(of feature: FeatureID) -> FixedDecimal? {
        measurements.first { $0.feature == feature }?.value.additive
    }
}

extension PreparedCall {
    /// What refuses the call at a time, whatever its limits say: of several the one that lasts longest.
    package func mitigation(at now: Instant) -> Mitigation? {
        guard !shared.mitigations.isEmpty else { return nil }
        let use = LimitedUse(pending)
        return shared.mitigations.longestLasting(of: tenant, at: now) { scope in
            use.otherValues(in: scope) != nil && !use.features(in: scope, shared).isEmpty
        }
    }
}

extension LLMUsage {
    /// Input and output together; nil where neither is stated.
    package var tokens: Int64? {
        guard inputTokens != nil || outputTokens != nil else { return nil }
        let (sum, overflow) = (inputTokens ?? 0).addingReportingOverflow(outputTokens ?? 0)
        return overflow ? Int64.max : sum
    }
}
