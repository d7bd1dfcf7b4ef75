/// How much of a limit is taken in one window: settled use, and what open reservations hold.
///
/// The invariant of every hard limit is `used + held - overshoot <= amount`: what was admitted never exceeds it, and
/// what was used beyond an admission is recorded as overshoot, never hidden.
package struct LimitBalance: Sendable, Hashable {
    package var used: FixedDecimal
    package var held: FixedDecimal
    /// Use beyond what reservations held, and what lowering the limit left above it. Never negative.
    package var overshoot: FixedDecimal
    /// The limit in force.
    package var amount: FixedDecimal

    package init(
        used: FixedDecimal = .zero,
        held: FixedDecimal = .zero,
        overshoot: FixedDecimal = .zero,
        amount: FixedDecimal
    ) {
        self.used = used
        self.held = held
        self.overshoot = overshoot
        self.amount = amount
    }

    /// What further admissions may hold; zero where the limit is reached or exceeded, overshoot included.
    package var remaining: FixedDecimal {
        guard let taken = try? used.adding(held), taken < amount else { return .zero }
        return (try? amount.subtracting(taken)) ?? .zero
    }

    /// Whether a hold stays within the limit. Overshoot is no allowance: it counts as used. A hold of nothing is within
    /// only while something is left, so that a limit that is reached refuses also what can't be estimated.
    package func admits(_ hold: FixedDecimal) -> Bool {
        hold.isZero ? remaining > .zero : hold <= remaining
    }

    /// Whether the limit has room when so much is held in all, as of a limit whose holds are worked out together. A
    /// call that adds nothing is within only while something is left.
    package func admits(heldInAll total: FixedDecimal) -> Bool {
        guard let taken = try? used.adding(total) else { return false }
        return total > held ? taken <= amount : taken < amount
    }

    /// Whether what is used and held is more than the limit.
    package var isExceeded: Bool {
        guard let taken = try? used.adding(held) else { return true }
        return taken > amount
    }

    /// What settling `amount` uses beyond the hold that it frees: never negative.
    package static func overshoot(
        using amount: FixedDecimal,
        releasing hold: FixedDecimal
    ) throws(DecimalError) -> FixedDecimal {
        max(.zero, try amount.subtracting(hold))
    }

    /// Whether settled use has reached a share of the limit. A limit of zero is reached by any use.
    package func reaches(_ threshold: Percent) -> Bool {
        guard used > .zero else { return false }
        let hundred = FixedDecimal(100)
        return used.multiplied(by: hundred) >= amount.multiplied(by: threshold.value)
    }
}
