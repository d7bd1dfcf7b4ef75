/// A flat amount of a plan version for each billing period.
package struct Fee: Sendable, Hashable {
    /// When a fee is invoiced, by its name in the API.
    package enum Timing: String, Sendable, Hashable {
        /// On the invoice that precedes the period: the opening one, or the regular one of the period before.
        case inAdvance = "in_advance"
        /// On the regular invoice of the period itself.
        case inArrears = "in_arrears"
    }

    package let key: String
    package let name: String
    /// For a whole period, in the plan's currency.
    package let amount: FixedDecimal
    package let charged: Timing

    package init(key: String, name: String, amount: FixedDecimal, charged: Timing) {
        self.key = key
        self.name = name
        self.amount = amount
        self.charged = charged
    }
}
