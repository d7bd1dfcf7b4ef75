/// An exchange rate: what one unit of a currency is worth in another, from an instant on.
package struct FXRate: Sendable, Hashable {
    package let id: FXRateID
    package let from: Currency
    package let to: Currency
    package let rate: FixedDecimal
    package let effectiveFrom: Instant

    package init(
        id: FXRateID,
        from: Currency,
        to: Currency,
        rate: FixedDecimal,
        effectiveFrom: Instant
    ) {
        self.id = id
        self.from = from
        self.to = to
        self.rate = rate
        self.effectiveFrom = effectiveFrom
    }

    /// The amount in the other currency, rounded half away from zero to 12 digits.
    /// - Throws: `DecimalError.outOfRange` when it is 10^26 or more.
    package func convert(_ amount: FixedDecimal) throws(DecimalError) -> FixedDecimal {
        try amount.multiplied(by: rate).rounded(toDigits: FixedDecimal.fractionalDigits)
    }
}

/// Every exchange rate. Immutable. Nothing is converted the other way round or by way of a third currency.
package struct FXRates: Sendable {
    private struct Pair: Hashable {
        let from: Currency
        let to: Currency
    }

    /// By descending start.
    private let byPair: [Pair: [FXRate]]
    private let byID: [FXRateID: FXRate]
    /// When the last of all rates starts.
    private let lastStart: Instant

    package static let none = FXRates([])

    package init(_ rates: [FXRate]) {
        byPair = Dictionary(grouping: rates) { Pair(from: $0.from, to: $0.to) }
            .mapValues { $0.sorted { ($0.effectiveFrom, $0.id) > ($1.effectiveFrom, $1.id) } }
        byID = Dictionary(rates.map { ($0.id, $0) }) { first, _ in first }
        lastStart = rates.lazy.map(\.effectiveFrom).max() ?? .minimum
    }

    /// When, after a time and until another one, a rate to a currency starts.
    package func starts(to currency: Currency, after start: Instant, through end: Instant) -> Set<Instant> {
        guard lastStart > start else { return [] }
        let later = byPair.lazy.filter { $0.key.to == currency }
            .flatMap { $0.value.prefix { $0.effectiveFrom > start } }
        return Set(later.map(\.effectiveFrom).filter { $0 <= end })
    }

    /// The rate in force at an instant; nil when there is none.
    package func rate(from: Currency, to: Currency, at time: Instant) -> FXRate? {
        byPair[Pair(from: from, to: to)]?.first { $0.effectiveFrom <= time }
    }

    /// Whether any rate leads to a currency.
    package func hasRates(to currency: Currency) -> Bool {
        byPair.keys.contains { $0.to == currency }
    }

    package subscript(id: FXRateID) -> FXRate? { byID[id] }
}
