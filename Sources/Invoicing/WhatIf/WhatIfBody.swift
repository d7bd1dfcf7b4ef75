import BillingCore
import Catalog
import Web

/// What a what-if answers: for each period both totals, and the difference line by line.
struct WhatIfBody: Encodable, Sendable {
    struct Plan: Encodable, Sendable {
        let plan: String
        let version: Int
        let status: String
    }

    struct Period: Encodable, Sendable {
        let period: Interval
        let lines: [Line]
        let current: Sums
        let proposed: Sums
        let delta: String
    }

    struct Line: Encodable, Sendable {
        let kind: String
        /// The fee's or the feature's key; null for commitment and included credit.
        let key: String?
        let description: String
        let cell: [String: String]
        let quantity: FixedDecimal?
        let unit: String?
        /// Null where that side has no such line.
        let currentAmount: String?
        let proposedAmount: String?
        let delta: String
    }

    struct Sums: Encodable, Sendable {
        let subtotal: String
        let includedCredit: String
        let total: String
        /// What was used and is in no amount, as on an invoice.
        let unpriced: [JSONValue]
    }

    let tenant: String
    let subscription: String
    let currency: String
    let proposed: Plan
    let ledgerSeq: Int64
    let periods: [Period]
    let currentTotal: String
    let proposedTotal: String
    let delta: String
}

extension WhatIfBody {
    /// - Throws: `DecimalError.outOfRange` when a sum leaves the range of an amount.
    init(
        _ whatIf: WhatIf,
        _ record: PlanVersionRecord,
        _ periods: [WhatIf.Period],
        ledgerSequence: Int64
    ) throws(DecimalError) {
        let currency = record.plan.currency
        let money = currency.formatted
        var (current, proposed) = (FixedDecimal.zero, FixedDecimal.zero)
        var bodies: [Period] = []
        for period in periods {
            let (left, right) = (try period.current.invoice.net, try period.proposed.invoice.net)
            current = try current.adding(left)
            proposed = try proposed.adding(right)
            bodies.append(
                Period(
                    period: period.interval,
                    lines: period.comparison.rows.map { Line($0, whatIf.catalog, money) },
                    current: try Sums(period.current, money),
                    proposed: try Sums(period.proposed, money),
                    delta: money(try right.subtracting(left))
                )
            )
        }
        tenant = whatIf.tenant.key
        subscription = whatIf.subscription.id.description
        self.currency = currency.code
        self.proposed = Plan(plan: record.plan.key, version: record.version, status: record.status.rawValue)
        ledgerSeq = ledgerSequence
        self.periods = bodies
        currentTotal = money(current)
        proposedTotal = money(proposed)
        delta = money(try proposed.subtracting(current))
    }
}

extension WhatIfBody.Line {
    fileprivate init(
        _ row: WhatIfComparison.Row,
        _ catalog: CatalogSnapshot,
        _ money: (FixedDecimal) -> String
    ) {
        switch row.item {
        case .fee(let fee):
            (kind, key, description, unit, cell) = ("fee", fee.key, fee.name, nil, [:])
        case .usage(let usage):
            let feature = catalog.features[usage.feature]
            (kind, key, unit) = ("usage", feature?.key, feature?.unit)
            description = feature?.name ?? usage.feature.description
            cell = PrintableInvoice.cellValues(usage.cell)
        case .commitment:
            (kind, key, description, unit, cell) = ("commitment", nil, "Minimum commitment", nil, [:])
        case .includedCredit:
            (kind, key, description, unit, cell) = ("included_credit", nil, "Included credit", nil, [:])
        }
        quantity = row.quantity
        currentAmount = row.current.map(money)
        proposedAmount = row.proposed.map(money)
        delta = money(row.delta)
    }
}

extension WhatIfBody.Sums {
    fileprivate init(_ side: WhatIf.Side, _ money: (FixedDecimal) -> String) throws(DecimalError) {
        let invoice = side.invoice
        subtotal = money(invoice.totals.subtotal)
        includedCredit = money(try invoice.includedCredit)
        total = money(try invoice.net)
        unpriced = side.unpriced.map(InvoiceBody.unpriced)
    }
}

extension Invoice {
    fileprivate var includedCredit: FixedDecimal {
        get throws(DecimalError) {
            var sum = FixedDecimal.zero
            for line in lines { sum = try sum.adding(line.includedCredit) }
            return sum
        }
    }

    /// What the period comes to: lines less included credit.
    fileprivate var net: FixedDecimal {
        get throws(DecimalError) { try totals.subtotal.subtracting(includedCredit) }
    }
}
