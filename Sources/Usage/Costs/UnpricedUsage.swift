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
    private static let hourMicroseconds: Int64 = 3_600 * 1_000_000
    private static let dayMicroseconds = 24 * hourMicroseconds

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

    /// The same for usage of any day: that of the epoch stands for all.
    var ofAnyDay: UnpricedKey {
        UnpricedKey(
            tenant: tenant,
            reason: reason,
            provider: provider,
            model: model,
            dayStart: Instant(microseconds: 0)
        )
    }

    var day: Interval {
        Interval(start: dayStart, end: dayStart.adding(microseconds: Self.dayMicroseconds))
    }

    /// The day in parts.
    var hours: [Interval] {
        (0..<24).map { hour in
            Interval(
                start: dayStart.adding(microseconds: hour * Self.hourMicroseconds),
                end: dayStart.adding(microseconds: (hour + 1) * Self.hourMicroseconds)
            )
        }
    }

    func covers(_ event: UsageEvent, at time: Instant, of tenant: TenantID, _ reason: UnpricedReason) -> Bool {
        self.tenant == tenant && self.reason == reason && day.contains(time)
            && (event.usage.model ?? "").hasSameBytes(as: model)
            && (event.usage.provider ?? "").hasSameBytes(as: provider)
    }

    /// As the database compares them: names that look the same and are written otherwise are two.
    static func == (left: Self, right: Self) -> Bool {
        left.tenant == right.tenant && left.reason == right.reason && left.dayStart == right.dayStart
            && left.provider.hasSameBytes(as: right.provider) && left.model.hasSameBytes(as: right.model)
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

/// Of whom usage is unpriced, and why.
struct UnpricedKind: Hashable {
    let tenant: TenantID
    let reason: UnpricedReason
}

/// A model, used by a tenant, whose usage begins to have no cost: before, none of it was unpriced for that reason.
struct NewlyUnpriced {
    let key: UnpricedKey
    /// The first of the events.
    let event: UsageEvent
    /// Whether the tenant has very many such models: it makes up their names.
    var isOneOfMany = false
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

    /// Of what may be added, what is unpriced already, where that has been read under the ledger lock; else it is.
    private let known: Set<UnpricedKey>?
    private var added: [UnpricedKey: Count] = [:]
    private var removed: [UnpricedKey: Count] = [:]
    /// The first event that is added, by what is unpriced of it but for the day.
    private var firsts: [UnpricedKey: UsageEvent] = [:]
    /// Events come mostly in order and of the same few models, so the last key is kept out of the dictionary.
    private var latest: (key: UnpricedKey, count: Count)?

    /// - Parameter known: see `UnpricedUsageStore.anyDay`.
    init(known: Set<UnpricedKey>? = nil) {
        self.known = known
    }

    mutating func add(_ event: UsageEvent, at time: Instant, of tenant: TenantID, _ reason: UnpricedReason?) throws {
        guard let reason else { return }
        if latest?.key.covers(event, at: time, of: tenant, reason) == true {
            try latest?.count.add(event)
            return
        }
        mergeLatest()
        let key = UnpricedKey(tenant: tenant, reason: reason, event: event, time: time)
        if firsts[key.ofAnyDay] == nil { firsts[key.ofAnyDay] = event }
        var count = added[key] ?? Count()
        try count.add(event)
        latest = (key, count)
    }

    private static func known(
        of keys: [UnpricedKey],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Set<UnpricedKey> {
        Set(try transaction.query(UnpricedUsageStore.anyDay(of: keys), UnpricedUsageStore.decodeKey))
    }

    /// So many models of a tenant are told of one by one.
    private static let mostTold = 20

    private static func newly(
        _ models: [(key: UnpricedKey, event: UsageEvent)],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [NewlyUnpriced] {
        guard !models.isEmpty else { return [] }
        let kinds = Set(models.map { UnpricedKind(tenant: $0.key.tenant, reason: $0.key.reason) })
        let counted = try transaction.query(
            UnpricedUsageStore.modelCounts(of: kinds.sorted { $0.tenant < $1.tenant }, atMost: mostTold),
            UnpricedUsageStore.decodeModelCount
        )
        var counts = Dictionary(counted) { first, _ in first }
        return models.sorted { $0.key < $1.key }.map { key, event in
            let kind = UnpricedKind(tenant: key.tenant, reason: key.reason)
            counts[kind, default: 0] += 1
            return NewlyUnpriced(key: key, event: event, isOneOfMany: counts[kind, default: 0] > mostTold)
        }
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
    /// - Returns: the models of which nothing was unpriced before, read under the ledger lock.
    mutating func write(
        triedWith version: Int64,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [NewlyUnpriced] {
        mergeLatest()
        for (key, count) in removed.sorted(by: { $0.key < $1.key }) {
            transaction.enqueue(UnpricedUsageStore.remove(count, from: key))
        }
        guard !added.isEmpty else { return [] }
        let before: Set<UnpricedKey>
        if let known {
            before = known
        } else {
            before = try Self.known(of: firsts.keys.sorted(), in: transaction)
        }
        let fresh = firsts.filter { !before.contains($0.key) }.map { (key: $0.key, event: $0.value) }
        let newly = try Self.newly(fresh, in: transaction)
        transaction.enqueue(UnpricedUsageStore.add(added.sorted { $0.key < $1.key }, triedWith: version))
        return newly
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
        guard reversalOf == nil else { return nil }
        guard let cost else { return event.isModelCall ? .price : nil }
        return cost.fxRate == nil && cost.currency != currency ? .fxRate : nil
    }
}
