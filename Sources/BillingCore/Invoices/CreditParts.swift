/// So much of each of several credits, above zero.
struct CreditParts: Sendable, Hashable {
    private(set) var amounts: [UUIDv7: FixedDecimal] = [:]

    init() {}

    /// Those that are above zero.
    init(_ amounts: [UUIDv7: FixedDecimal]) {
        self.amounts = amounts.filter { $0.value > .zero }
    }

    var total: FixedDecimal {
        get throws(DecimalError) {
            var sum = FixedDecimal.zero
            for amount in amounts.values { sum = try sum.adding(amount) }
            return sum
        }
    }

    /// By ascending id.
    var uses: [CreditUse] {
        amounts.sorted { $0.key < $1.key }.map { CreditUse(id: $0.key, kind: .promotional, amount: $0.value) }
    }

    mutating func add(_ other: CreditParts) throws(DecimalError) {
        try amounts.add(other.amounts)
    }

    /// Of each credit no more than another has of it.
    func limited(to most: CreditParts) -> CreditParts {
        CreditParts(
            amounts.reduce(into: [:]) { limited, part in
                limited[part.key] = Swift.min(part.value, most.amounts[part.key] ?? .zero)
            }
        )
    }

    /// Takes so much of all credits, in proportion, by largest remainder.
    /// - Parameter amount: whole minor units, at most the total.
    mutating func take(_ amount: FixedDecimal, currency: Currency) throws(DecimalError) -> CreditParts {
        let parts = uses
        let shares = try LargestRemainder.split(amount, over: parts.map(\.amount), currency: currency)
        let taken = CreditParts(Dictionary(uniqueKeysWithValues: zip(parts.map(\.id), shares)))
        try remove(taken)
        return taken
    }

    mutating func remove(_ other: CreditParts) throws(DecimalError) {
        try amounts.add(other.amounts.mapValues(\.negated))
    }
}
