import BillingCore
import Catalog
import Usage

/// An invoice as it is answered. What comes up has no id and no number, and is a draft.
struct InvoiceBody: Encodable, Sendable {
    struct Period: Encodable, Sendable {
        let start: Instant
        let end: Instant
    }

    struct Line: Encodable, Sendable {
        let kind: String
        let description: String
        let period: Period
        var fee: String?
        var feature: String?
        var cell: [String: String]?
        var quantity: FixedDecimal?
        var unit: String?
        var priceModel: String?
        var planVersion: Int?
        var tiers: [Tier]?
        let amount: String
        let amountUnrounded: String
    }

    struct Tier: Encodable, Sendable {
        let upTo: FixedDecimal?
        let quantity: FixedDecimal
        let unitAmount: FixedDecimal
        let flatAmount: FixedDecimal
        /// The tier's part of the exact amount, not rounded.
        let amount: String

        enum CodingKeys: CodingKey {
            case upTo, quantity, unitAmount, flatAmount, amount
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(upTo, forKey: .upTo)
            try container.encode(quantity, forKey: .quantity)
            try container.encode(unitAmount, forKey: .unitAmount)
            try container.encode(flatAmount, forKey: .flatAmount)
            try container.encode(amount, forKey: .amount)
        }
    }

    struct Unpriced: Encodable, Sendable {
        let feature: String
        let quantity: FixedDecimal
        let unit: String
    }

    let status = "draft"
    let tenant: String
    let currency: String
    let subscription: String
    let plan: String
    let period: Period
    let invoiceKind: String
    let lines: [Line]
    let unpriced: [Unpriced]
    let subtotal: String
    let credits: String
    let tax: String
    let total: String

    private enum CodingKeys: CodingKey {
        case id, number, status, tenant, currency, subscription, plan, period, invoiceKind, lines, unpriced
        case subtotal, credits, tax, total
    }

    init(upcoming: UpcomingInvoice, tenant: TenantSnapshot, catalog: CatalogSnapshot) {
        let invoice = upcoming.invoice
        let plan = upcoming.subscription.planVersion
        let money = { (amount: FixedDecimal) in Money(amount, invoice.currency).formatted }
        self.tenant = tenant.key
        currency = invoice.currency.code
        subscription = upcoming.subscription.id.description
        self.plan = plan.planKey
        period = Period(start: invoice.period.start, end: invoice.period.end)
        invoiceKind = invoice.kind.rawValue
        lines = invoice.lines.map { line in
            Line(line, currency: invoice.currency, subscription: upcoming.subscription, catalog: catalog)
        }
        unpriced = upcoming.unpriced.compactMap { row in
            catalog.features[row.key.feature].map { feature in
                Unpriced(feature: feature.key, quantity: row.state.quantity, unit: feature.unit)
            }
        }
        subtotal = money(invoice.totals.total)
        credits = money(.zero)
        tax = money(.zero)
        total = money(invoice.totals.total)
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeNil(forKey: .id)
        try container.encodeNil(forKey: .number)
        try container.encode(status, forKey: .status)
        try container.encode(tenant, forKey: .tenant)
        try container.encode(currency, forKey: .currency)
        try container.encode(subscription, forKey: .subscription)
        try container.encode(plan, forKey: .plan)
        try container.encode(period, forKey: .period)
        try container.encode(invoiceKind, forKey: .invoiceKind)
        try container.encode(lines, forKey: .lines)
        try container.encode(unpriced, forKey: .unpriced)
        try container.encode(subtotal, forKey: .subtotal)
        try container.encode(credits, forKey: .credits)
        try container.encode(tax, forKey: .tax)
        try container.encode(total, forKey: .total)
    }
}

extension InvoiceBody.Line {
    fileprivate init(
        _ line: InvoiceLine,
        currency: Currency,
        subscription: SubscriptionSnapshot,
        catalog: CatalogSnapshot
    ) {
        let period = InvoiceBody.Period(start: line.period.start, end: line.period.end)
        let dates = line.period.days(in: subscription.periods.zone)
        switch line.item {
        case .fee(let fee):
            self.init(
                kind: "fee",
                description: "\(fee.name) (\(dates))",
                period: period,
                fee: fee.key,
                amount: Money(line.amount, currency).formatted,
                amountUnrounded: line.amountUnrounded.displayed
            )
        case .usage(let usage):
            let feature = catalog.features[usage.feature]
            self.init(
                kind: "usage",
                description: "\(feature?.name ?? usage.feature.description) (\(dates))",
                period: period,
                feature: feature?.key,
                cell: [:],
                quantity: usage.total.quantity,
                unit: feature?.unit,
                priceModel: usage.price.model,
                planVersion: subscription.version,
                tiers: line.tiers.map { tier in
                    InvoiceBody.Tier(
                        upTo: tier.upTo,
                        quantity: tier.quantity,
                        unitAmount: tier.unitAmount,
                        flatAmount: tier.flatAmount,
                        amount: tier.amount.description
                    )
                },
                amount: Money(line.amount, currency).formatted,
                amountUnrounded: line.amountUnrounded.displayed
            )
        }
    }
}

extension ExactAmount {
    /// For display, with 12 fractional digits; the exact amount is never computed with again.
    fileprivate var displayed: String {
        (try? rounded(toDigits: 12).fixedDescription) ?? description
    }
}

extension Interval {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// The days it goes from and to on the local calendar, such as `1 Dec - 1 Jan`; the last day is not part of it.
    fileprivate func days(in zone: Zone) -> String {
        [start, end].map { Self.day(of: $0, in: zone) }.joined(separator: " - ")
    }

    private static func day(of instant: Instant, in zone: Zone) -> String {
        let microsecondsPerDay: Int64 = 86_400_000_000
        let local = zone.localMicroseconds(at: instant)
        let days = local / microsecondsPerDay - (local % microsecondsPerDay < 0 ? 1 : 0)
        let date = CivilDate(daysSince1970: days)
        return "\(date.day) \(months[Int(date.month) - 1])"
    }
}
