import BillingCore
import Catalog
import Usage
import Web

/// An invoice as it is answered. What comes up has no id and no number, and is a draft.
struct InvoiceBody: Encodable, Sendable {
    struct Period: Encodable, Sendable {
        let start: Instant
        let end: Instant
    }

    enum Line: Encodable, Sendable {
        case fee(FeeLine)
        case usage(UsageLine)
        case amount(AmountLine)

        func encode(to encoder: any Encoder) throws {
            switch self {
            case .fee(let line): try line.encode(to: encoder)
            case .usage(let line): try line.encode(to: encoder)
            case .amount(let line): try line.encode(to: encoder)
            }
        }
    }

    /// What is neither a fee nor a feature's usage: what is missing to a commitment, or a change of included credit.
    struct AmountLine: Encodable, Sendable {
        let kind: String
        let description: String
        let period: Period
        let amount: String
        let amountUnrounded: String
    }

    struct FeeLine: Encodable, Sendable {
        let kind = "fee"
        let fee: String
        let description: String
        let period: Period
        let amount: String
        let amountUnrounded: String
    }

    struct UsageLine: Encodable, Sendable {
        let kind = "usage"
        let feature: String
        let description: String
        let period: Period
        /// The dimension values that the line is about; empty where the price does not tell them apart.
        let cell: JSONValue
        let quantity: FixedDecimal
        let unit: String
        let priceModel: String
        let planVersion: Int
        let tiers: [Tier]
        let amount: String
        let amountUnrounded: String
    }

    struct Tier: Encodable, Sendable {
        let basis: String
        let upTo: FixedDecimal?
        let quantity: FixedDecimal
        let unitAmount: FixedDecimal
        let flatAmount: FixedDecimal
        /// The tier's part of the exact amount, not rounded.
        let amount: String

        init(_ charge: TierCharge) {
            basis = charge.basis.rawValue
            upTo = charge.upTo
            quantity = charge.quantity
            unitAmount = charge.unitAmount
            flatAmount = charge.flatAmount
            amount = charge.amount.description
        }
    }

    struct Unpriced: Encodable, Sendable {
        let feature: String
        /// The cell of a matrix that has no price; empty where the plan does not mention the feature.
        let cell: JSONValue
        let quantity: FixedDecimal
        let unit: String
    }

    let id: String? = nil
    let number: String? = nil
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

    init(upcoming: UpcomingInvoice, tenant: TenantSnapshot, catalog: CatalogSnapshot) {
        let invoice = upcoming.invoice
        let money = { (amount: FixedDecimal) in Money(amount, invoice.currency).formatted }
        self.tenant = tenant.key
        currency = invoice.currency.code
        subscription = upcoming.subscription.id.description
        plan = upcoming.planKey
        period = Period(start: invoice.period.start, end: invoice.period.end)
        invoiceKind = invoice.kind.rawValue
        lines = invoice.lines.map { line in
            Line(line, currency: invoice.currency, subscription: upcoming.subscription, catalog: catalog)
        }
        unpriced = upcoming.unpriced.compactMap { row in
            catalog.features[row.key.feature].map { feature in
                Unpriced(
                    feature: feature.key,
                    cell: .cell(row.key.cell),
                    quantity: row.state.quantity,
                    unit: feature.unit
                )
            }
        }
        subtotal = money(invoice.totals.total)
        credits = money(.zero)
        tax = money(.zero)
        total = money(invoice.totals.total)
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
        let amount = Money(line.amount, currency).formatted
        switch line.item {
        case .commitment, .includedCredit:
            self = .amount(
                InvoiceBody.AmountLine(
                    kind: line.kind.rawValue,
                    description: line.key.item == .commitment ? "Minimum commitment" : "Included credit",
                    period: period,
                    amount: amount,
                    amountUnrounded: line.amountUnrounded.fixedDescription
                )
            )
        case .fee(let fee):
            self = .fee(
                InvoiceBody.FeeLine(
                    fee: fee.key,
                    description: "\(fee.name) (\(dates))",
                    period: period,
                    amount: amount,
                    amountUnrounded: line.amountUnrounded.fixedDescription
                )
            )
        case .usage(let usage):
            let feature = catalog.features[usage.feature]
            self = .usage(
                InvoiceBody.UsageLine(
                    feature: feature?.key ?? usage.feature.description,
                    description: "\(feature?.name ?? usage.feature.description) (\(dates))",
                    period: period,
                    cell: .cell(usage.cell),
                    quantity: (try? usage.quantity) ?? usage.through.quantity,
                    unit: feature?.unit ?? "",
                    priceModel: usage.price.model,
                    planVersion: subscription.segments.first { $0.ordinal == line.key.segment }?.planVersion.version
                        ?? 0,
                    tiers: line.tiers.map(InvoiceBody.Tier.init),
                    amount: amount,
                    amountUnrounded: line.amountUnrounded.fixedDescription
                )
            )
        }
    }
}

extension JSONValue {
    /// The dimension values that the text of a cell spells; none for the empty text.
    fileprivate static func cell(_ text: String) -> JSONValue {
        (try? JSONValue(parsing: text)) ?? .object([])
    }
}
