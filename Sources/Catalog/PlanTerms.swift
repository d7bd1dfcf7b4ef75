package import BillingCore
import Web

/// What a plan version agrees beside its prices. Amounts are in the plan's currency, for a whole billing period.
package struct PlanTerms: Sendable, Hashable {
    /// What the usage of a period is charged at least.
    package var minimumCommitment: FixedDecimal?
    /// Taken off what a period is charged.
    package var includedCredit: FixedDecimal?
    package var spendCap: SpendCap?
    /// By how many days a trial delays the anchor, and so the first fee; 0 for none.
    package var trialDays = 0

    package init() {}
}

/// A bound on the usage charges of a calendar month: it denies admission or warns, and never reduces an invoice.
package struct SpendCap: Sendable, Hashable {
    package let amount: FixedDecimal
    package let mode: LimitMode

    package init(amount: FixedDecimal, mode: LimitMode) {
        self.amount = amount
        self.mode = mode
    }
}

extension PlanTerms {
    static let longestTrialDays = 730

    /// Reads the terms among the members of a plan version.
    static func read(_ fields: JSONObjectReader) -> PlanTerms {
        var terms = readAmounts(fields)
        terms.trialDays = fields.integer("trial_days", in: 0...longestTrialDays, default: 0)
        return terms
    }

    /// Reads the amounts, which a subscription may have its own of; nil where there is none.
    static func readAmounts(_ fields: JSONObjectReader) -> PlanTerms {
        var terms = PlanTerms()
        terms.minimumCommitment = fields.optionalDecimal("minimum_commitment", minimum: .zero)
        terms.includedCredit = fields.optionalDecimal("included_credit", minimum: .zero)
        terms.spendCap = fields.optionalObject("spend_cap") { cap in
            SpendCap(amount: cap.decimal("amount", minimum: .zero), mode: cap.choice("mode", default: .hard))
        }
        return terms
    }

    /// The same terms with those amounts in their place that others have.
    func replacingAmounts(with own: PlanTerms) -> PlanTerms {
        var terms = self
        terms.minimumCommitment = own.minimumCommitment ?? minimumCommitment
        terms.includedCredit = own.includedCredit ?? includedCredit
        terms.spendCap = own.spendCap ?? spendCap
        return terms
    }

    /// The members as they are shown and stored.
    var members: [JSONMember] {
        let amount = { (amount: FixedDecimal?) in amount.map { JSONValue.string($0.description) } ?? .null }
        let cap = spendCap.map { cap in
            JSONValue.members(["amount": amount(cap.amount), "mode": .string(cap.mode.rawValue)])
        }
        return [
            JSONMember(name: "included_credit", value: amount(includedCredit)),
            JSONMember(name: "minimum_commitment", value: amount(minimumCommitment)),
            JSONMember(name: "spend_cap", value: cap ?? .null),
            JSONMember(name: "trial_days", value: .number(String(trialDays))),
        ]
    }
}
