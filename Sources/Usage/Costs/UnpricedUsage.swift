import BillingCore
import Catalog
import Postgres

/// Why usage of a model has no cost in its tenant's currency.
enum UnpricedReason: String, Sendable, CaseIterable {
    /// The price book has no price for it.
    case price
    /// There is no exchange rate to the tenant's currency.
    case fxRate = "fx_rate"
}

extension UnpricedReason: PostgresConvertible {}

/// Which usage is unpriced: of one tenant, one model and one day (UTC).
struct UnpricedKey: Sendable, Hashable, Comparable {
    private static let dayMicroseconds: Int64 = 86_400 * 1_000_000

    let tenant: TenantID
    let reason: UnpricedReason
    /// Empty where events name none.
    let provider: String
    let model: String
    let dayStart: Instant

    init(tenant: TenantID, reason: UnpricedReason, event: UsageEvent, time: Instant) {
        self.init(
            tenant: tenant,
            reason: reason,
            provider: event.usage.provider ?? "",
            model: event.usage.model ?? "",
            dayStart: Self.day(of: time)
        )
    }

    init(tenant: TenantID, reason: UnpricedReason, provider: String, model: String, dayStart: Instant) {
        self.tenant = tenant
        self.reason = reason
        self.provider = provider
        self.model = model
        self.dayStart = dayStart
    }

    var day: Interval {
        Interval(start: dayStart, end: dayStart.adding(microseconds: Self.dayMicroseconds))
    }

    func covers(_ event: UsageEvent, at time: Instant, of tenant: TenantID, _ reason: UnpricedReason) -> Bool {
        self.tenant == tenant && self.reason == reason && day.contains(time) && (event.usage.model ?? "") == model
            && (event.usage.provider ?? "") == provider
    }

    static func < (left: Self, right: Self) -> Bool {
        let (one, other) = (left, right)
        return (one.tenant, one.reason.rawValue, one.provider, one.model, one.dayStart)
            < (other.tenant, other.reason.rawValue, other.provider, other.model, other.dayStart)
    }

    private static func day(of time: Instant) -> Instant {
        let (days, rest) = time.microseconds.quotientAndRemainder(dividingBy: dayMicroseconds)
        return Instant(microseconds: (rest < 0 ? days - 1 : days) * dayMicroseconds)
    }
}

/// How much usage a transaction adds to what is unpriced, and how much it takes out.
struct UnpricedChanges {
    struct Count: Sendable, Equatable {
        var events: Int64 = 0
        var inputTokens = FixedDecimal.zero
        var outputTokens = FixedDecimal.zero

        mutating func add(_ event: UsageEvent) throws(DecimalError) {
            events += 1
            inputTokens = try inputTokens.adding(FixedDecimal(event.usage.inputTokens ?? 0))
            outputTokens = try outputTokens.adding(FixedDecimal(event.usage.outputTokens ?? 0))
        }
    }

    private var added: [UnpricedKey: Count] = [:]
    private var removed: [UnpricedKey: Count] = [:]
    /// Events come mostly in order and of the same few models, so the last key is kept out of the dictionary.
    private var latest: (key: UnpricedKey, count: Count)?

    mutating func add(_ event: UsageEvent, at time: Instant, of tenant: TenantID, _ reason: UnpricedReason?) throws {
        guard let reason else { return }
        if latest?.key.covers(event, at: time, of: tenant, reason) == true {
            try latest?.count.add(event)
            return
        }
        mergeLatest()
        let key = UnpricedKey(tenant: tenant, reason: reason, event: event, time: time)
        var count = added[key] ?? Count()
        try count.add(event)
        latest = (key, count)
    }

    private mutating func mergeLatest() {
        if let latest { added[latest.key] = latest.count }
        latest = nil
    }

    mutating func remove(_ event: UsageEvent, at time: Instant, of tenant: TenantID, _ reason: UnpricedReason?) throws {
        guard let reason else { return }
        try removed[UnpricedKey(tenant: tenant, reason: reason, event: event, time: time), default: Count()].add(event)
    }

    /// Sends the writes, which travel with the commit.
    /// - Parameter version: of the price book that what is added was tried with.
    mutating func enqueue(triedWith version: Int64, in transaction: borrowing Transaction) {
        mergeLatest()
        if !added.isEmpty {
            transaction.enqueue(UnpricedUsageStore.add(added.sorted { $0.key < $1.key }, triedWith: version))
        }
        for (key, count) in removed.sorted(by: { $0.key < $1.key }) {
            transaction.enqueue(UnpricedUsageStore.remove(count, from: key))
        }
    }
}

extension CallCost {
    /// Why its cost is not known in the tenant's currency; nil when it is.
    var unpricedReason: UnpricedReason? {
        switch self {
        case .none: nil
        case .unpriced: .price
        case .priced(let call): call.conversion == .missing ? .fxRate : nil
        }
    }
}

extension StoredEvent {
    /// Why its cost is not known in the tenant's currency; nil when it is.
    func unpricedReason(in currency: Currency) -> UnpricedReason? {
        guard event.isModelCall, reversalOf == nil else { return nil }
        guard let cost else { return .price }
        return cost.fxRate == nil && cost.currency != currency ? .fxRate : nil
    }
}
