/// What pays for a part of a line in place of money, and takes it again when the line is taken back.
enum CreditSource: Sendable, Hashable, Comparable {
    /// A promotional credit: what comes back to it may be used again.
    case grant(UUIDv7)
    /// A credit note, which gave money back before: what comes back of that is gone.
    case note(UUIDv7)
}

/// So much of each of several credits, above zero.
struct CreditParts: Sendable, Hashable {
    private(set) var amounts: [CreditSource: FixedDecimal] = [:]

    init() {}

    /// Those that are above zero.
    init(_ amounts: [CreditSource: FixedDecimal]) {
        self.amounts = amounts.filter { $0.value > .zero }
    }

    var total: FixedDecimal {
        get throws(DecimalError) {
            var sum = FixedDecimal.zero
            for amount in amounts.values { sum = try sum.adding(amount) }
            return sum
        }
    }

    /// Those of promotional credits.
    var grants: [UUIDv7: FixedDecimal] {
        amounts.reduce(into: [:]) { grants, part in
            if case .grant(let id) = part.key { grants[id] = part.value }
        }
    }

    /// Those of credit notes.
    var notes: [UUIDv7: FixedDecimal] {
        amounts.reduce(into: [:]) { notes, part in
            if case .note(let id) = part.key { notes[id] = part.value }
        }
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
        let parts = amounts.sorted { $0.key < $1.key }
        let shares = try LargestRemainder.split(amount, over: parts.map(\.value), currency: currency)
        let taken = CreditParts(Dictionary(uniqueKeysWithValues: zip(parts.map(\.key), shares)))
        try remove(taken)
        return taken
    }

    mutating func remove(_ other: CreditParts) throws(DecimalError) {
        try amounts.add(other.amounts.mapValues(\.negated))
    }
}
