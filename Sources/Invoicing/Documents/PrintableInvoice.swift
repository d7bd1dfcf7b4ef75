package import BillingCore

/// Everything that a rendered invoice shows, and nothing that is looked up while it is rendered: the renderers for
/// HTML, PDF and CSV are pure functions of this value.
///
/// Amounts and quantities are decimal texts as the API writes them (`-1234.50`, no grouping), so that no renderer
/// calculates; amounts are in `currency` and have the currency's minor digits.
package struct PrintableInvoice: Sendable, Hashable {
    /// Who issues the invoice, or who is to pay it.
    package struct Party: Sendable, Hashable {
        package var name: String
        /// Address, tax number, email: one line of text each.
        package var lines: [String]

        package init(name: String, lines: [String] = []) {
            self.name = name
            self.lines = lines
        }
    }

    /// A labelled text of the invoice's head, such as a date.
    package struct Fact: Sendable, Hashable {
        package var label: String
        package var value: String

        package init(_ label: String, _ value: String) {
            self.label = label
            self.value = value
        }
    }

    /// A step of the sums below the lines.
    package struct Total: Sendable, Hashable {
        package var label: String
        package var amount: String
        /// What the reader looks for: the total, and what is still to be paid.
        package var isEmphasised: Bool

        package init(_ label: String, _ amount: String, isEmphasised: Bool = false) {
            self.label = label
            self.amount = amount
            self.isEmphasised = isEmphasised
        }
    }

    /// What is to be paid and was, as a table repeats it on each line.
    package struct Payment: Sendable, Hashable {
        package var total: String
        package var paidByCredit: String
        package var amountDue: String
        /// What a sum below zero owes to the customer: the lines add up to the total less this.
        package var carriedForward: String
        package var paidAt: Instant?
        /// The id of the voided invoice that this one stands in place of.
        package var reissueOf: String?
    }

    /// UUIDv7; nil for what is not stored.
    package var id: String?
    /// Nil until it is finalised.
    package var number: String?
    /// `Invoice`, `Draft invoice`, `Credit note`: the page's heading.
    package var title: String
    /// `opening`, `regular`, `adjustment`, as in the API.
    package var kind: String
    /// As in the API.
    package var status: String
    package var seller: Party
    package var tenantKey: String
    package var tenant: Party
    /// ISO 4217.
    package var currency: String
    package var period: Interval
    package var issuedAt: Instant?
    package var dueAt: Instant?
    /// The moment that a file made of this document bears, so that the same invoice always gives the same file.
    package var documentedAt: Instant
    package var payment: Payment
    package var facts: [Fact]
    package var lines: [Line]
    package var totals: [Total]
    package var unpriced: [UnpricedUse]
    package var notes: [String]

    package init(
        id: String? = nil,
        number: String? = nil,
        title: String,
        kind: String,
        status: String,
        seller: Party,
        tenantKey: String,
        tenant: Party,
        currency: String,
        period: Interval,
        issuedAt: Instant? = nil,
        dueAt: Instant? = nil,
        documentedAt: Instant,
        payment: Payment,
        facts: [Fact] = [],
        lines: [Line] = [],
        totals: [Total] = [],
        unpriced: [UnpricedUse] = [],
        notes: [String] = []
    ) {
        self.id = id
        self.number = number
        self.title = title
        self.kind = kind
        self.status = status
        self.seller = seller
        self.tenantKey = tenantKey
        self.tenant = tenant
        self.currency = currency
        self.period = period
        self.issuedAt = issuedAt
        self.dueAt = dueAt
        self.documentedAt = documentedAt
        self.payment = payment
        self.facts = facts
        self.lines = lines
        self.totals = totals
        self.unpriced = unpriced
        self.notes = notes
    }

    /// The notes of the page: what is in no amount first.
    package var pageNotes: [String] { unpriced.map { "\($0.text)." } + notes }

    /// The heading with the number, as a title of the page or the file.
    package var heading: String {
        number.map { "\(title) \($0)" } ?? title
    }
}

extension PrintableInvoice {
    /// What was used and is in no amount of the invoice.
    package struct UnpricedUse: Sendable, Hashable {
        package var feature: String
        /// The dimension values of a matrix cell, by ascending name; empty without one.
        package var cell: [Fact]
        package var quantity: String
        package var unit: String
        /// What it is, and what it lacks.
        package var text: String

        package init(feature: String, cell: [Fact] = [], quantity: String, unit: String, text: String) {
            self.feature = feature
            self.cell = cell
            self.quantity = quantity
            self.unit = unit
            self.text = text
        }
    }

    /// One line: what it charges for, how that comes about, and what it adds to the total.
    package struct Line: Sendable, Hashable {
        package var kind: String
        package var description: String
        package var period: Interval
        package var feature: String?
        /// The dimension values that the line is about.
        package var cell: [Fact]
        package var plan: String?
        package var planVersion: Int?
        package var priceModel: String?
        package var quantity: String?
        package var unit: String
        package var tiers: [Tier]
        package var amount: String
        package var amountUnrounded: String
        /// What an adjustment does to what was charged before; nil for any other line.
        package var correction: String?
        /// Discounts and credits, below zero.
        package var allocations: [Allocation]
        package var taxes: [Tax]
        /// What the line adds to the invoice's total: amount, allocations and the taxes that are not included.
        package var total: String

        package init(
            kind: String,
            description: String,
            period: Interval,
            feature: String? = nil,
            cell: [Fact] = [],
            plan: String? = nil,
            planVersion: Int? = nil,
            priceModel: String? = nil,
            quantity: String? = nil,
            unit: String = "",
            tiers: [Tier] = [],
            amount: String,
            amountUnrounded: String,
            correction: String? = nil,
            allocations: [Allocation] = [],
            taxes: [Tax] = [],
            total: String
        ) {
            self.kind = kind
            self.description = description
            self.period = period
            self.feature = feature
            self.cell = cell
            self.plan = plan
            self.planVersion = planVersion
            self.priceModel = priceModel
            self.quantity = quantity
            self.unit = unit
            self.tiers = tiers
            self.amount = amount
            self.amountUnrounded = amountUnrounded
            self.correction = correction
            self.allocations = allocations
            self.taxes = taxes
            self.total = total
        }
    }

    /// A part of a usage line by tier, package or other step of its price.
    package struct Tier: Sendable, Hashable {
        /// `above 1000000`, for example.
        package var label: String
        package var quantity: String
        /// Nil where the step has a flat amount only.
        package var unitAmount: String?
        /// Nil without one.
        package var flatAmount: String?
        package var amount: String

        package init(
            label: String,
            quantity: String,
            unitAmount: String?,
            flatAmount: String? = nil,
            amount: String
        ) {
            self.label = label
            self.quantity = quantity
            self.unitAmount = unitAmount
            self.flatAmount = flatAmount
            self.amount = amount
        }
    }

    /// A discount's or credit's part of a line.
    package struct Allocation: Sendable, Hashable {
        package enum Kind: Sendable, Hashable {
            case discount, credit
        }

        package var kind: Kind
        package var label: String
        package var amount: String

        package init(_ kind: Kind, label: String, amount: String) {
            self.kind = kind
            self.label = label
            self.amount = amount
        }
    }

    package struct Tax: Sendable, Hashable {
        /// The rate's name and percentage, `VAT 19 %`.
        package var label: String
        package var amount: String
        /// The tax is part of the line's amount already.
        package var isIncluded: Bool

        package init(label: String, amount: String, isIncluded: Bool = false) {
            self.label = label
            self.amount = amount
            self.isIncluded = isIncluded
        }
    }
}
