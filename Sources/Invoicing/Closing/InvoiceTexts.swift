import BillingCore
import Catalog
import Usage

/// Puts names and dates to the lines of one subscription's invoice.
struct InvoiceTexts {
    let subscription: SubscriptionSnapshot
    let catalog: CatalogSnapshot
    /// The names that features had when the invoice was finalised, where it is made anew.
    let pinnedNames: [FeatureID: String]
    /// Whether lines pin the fraction of a period that they charge; an invoice of before that was pinned has none.
    let pinsProration: Bool
    /// Whether lines pin which credits their promotional credit came from; those of before that was pinned do not.
    let pinsCredits: Bool
    private let counters: [Counted: CounterRow]

    /// What a counter counts: a feature, or a cell of it, in a segment of a period.
    private struct Counted: Hashable {
        let periodIndex: Int
        let segment: Int
        let feature: FeatureID
        let cell: String
    }

    init(
        subscription: SubscriptionSnapshot,
        catalog: CatalogSnapshot,
        periods: [ClosingPeriod],
        counters: [BillingPeriodID: [CounterRow]],
        pinnedNames: [FeatureID: String],
        pinsProration: Bool = true,
        pinsCredits: Bool = true
    ) {
        self.subscription = subscription
        self.catalog = catalog
        self.pinnedNames = pinnedNames
        self.pinsProration = pinsProration
        self.pinsCredits = pinsCredits
        var known: [Counted: CounterRow] = [:]
        for period in periods.map(\.period) {
            for row in counters[period.id] ?? [] {
                let counted = Counted(
                    periodIndex: period.index,
                    segment: period.segment,
                    feature: row.key.feature,
                    cell: row.key.cell
                )
                if known[counted] == nil { known[counted] = row }
            }
        }
        self.counters = known
    }

    func key(of feature: FeatureID) -> String { catalog.features[feature]?.key ?? feature.description }
    func name(of feature: FeatureID) -> String {
        pinnedNames[feature] ?? catalog.features[feature]?.name ?? feature.description
    }
    func unit(of feature: FeatureID) -> String { catalog.features[feature]?.unit ?? "" }

    /// The line as it is stored and shown.
    func line(_ line: InvoiceLine, number: Int) throws(DecimalError) -> StoredInvoiceLine {
        let part = part(of: line)
        let plan = part?.planVersion ?? subscription.planVersion(at: line.period.end.adding(microseconds: -1))
        let name = name(of: line)
        let dates = line.period.days(in: subscription.periods.zone)
        let used = try used(line)
        let isWhole = line.key.segment == nil
        let prorated = pinsProration ? part.flatMap { proration(of: line, in: $0) } : nil
        return StoredInvoiceLine(
            number: number,
            kind: line.kind,
            item: StoredInvoiceLine.Item(line.item),
            itemKey: itemKey(of: line),
            itemName: name,
            periodIndex: line.key.periodIndex,
            segment: line.key.segment,
            featureID: used?.feature,
            cell: used?.cell ?? "",
            period: line.period,
            description: line.kind == .adjustment ? "Adjustment: \(name) (\(dates))" : "\(name) (\(dates))",
            quantity: used?.quantity,
            planVersionID: isWhole ? nil : plan.id,
            amountExact: line.amountUnrounded.description,
            previouslyInvoiced: line.previouslyInvoiced,
            amount: line.amount,
            discount: line.discount,
            includedCredit: line.includedCredit,
            promotionalCredit: line.promotionalCredit,
            tax: try line.tax,
            facts: InvoiceLineFacts(
                plan: plan.planKey,
                planVersion: isWhole ? nil : plan.version,
                unit: used.map { unit(of: $0.feature) },
                eventCount: used?.eventCount,
                quantityBefore: used?.quantityBefore,
                priceModel: used?.priceModel,
                tiers: line.tiers.map(InvoiceLineFacts.Tier.init),
                taxes: line.taxes,
                ledgerSequence: used?.counter?.state.ledgerSequence,
                billingPeriodID: used?.counter?.key.period,
                promotionalCredits: pinsCredits ? line.promotionalCredits : [:],
                creditedBefore: line.creditedBefore,
                prorated: prorated
            )
        )
    }

    /// What a flat amount is prorated by, in a segment that is not the whole period.
    private func proration(of line: InvoiceLine, in part: PeriodSegment) -> InvoiceLineFacts.Prorated? {
        let fraction = Proration(
            of: subscription.interval(ofPeriod: line.key.periodIndex),
            within: part.interval
        )
        guard !fraction.isWhole, let amount = line.item.flatAmount else { return nil }
        return InvoiceLineFacts.Prorated(
            amount: amount,
            numerator: fraction.numerator,
            denominator: fraction.denominator
        )
    }

    private struct Used {
        let feature: FeatureID
        let cell: String
        let quantity: FixedDecimal
        let quantityBefore: FixedDecimal
        let eventCount: Int64
        let priceModel: String
        let counter: CounterRow?
    }

    private func used(_ line: InvoiceLine) throws(DecimalError) -> Used? {
        guard case .usage(let usage) = line.item else { return nil }
        let counter = line.key.segment.flatMap { segment in
            counters[
                Counted(
                    periodIndex: line.key.periodIndex,
                    segment: segment,
                    feature: usage.feature,
                    cell: usage.cell
                )
            ]
        }
        return Used(
            feature: usage.feature,
            cell: usage.cell,
            quantity: try usage.quantity,
            quantityBefore: usage.before.quantity,
            eventCount: usage.through.eventCount - usage.before.eventCount,
            priceModel: usage.price.model,
            counter: counter
        )
    }

    private func part(of line: InvoiceLine) -> PeriodSegment? {
        guard let segment = line.key.segment else { return nil }
        return subscription.segments(inPeriod: line.key.periodIndex).first { $0.segment.ordinal == segment }
    }

    private func name(of line: InvoiceLine) -> String {
        switch line.item {
        case .fee(let fee): fee.name
        case .usage(let usage): name(of: usage.feature)
        case .commitment: "Minimum commitment"
        case .includedCredit: "Included credit"
        }
    }

    private func itemKey(of line: InvoiceLine) -> String {
        switch line.item {
        case .fee(let fee): fee.key
        case .usage(let usage): key(of: usage.feature)
        case .commitment: StoredInvoiceLine.Item.commitment.rawValue
        case .includedCredit: StoredInvoiceLine.Item.includedCredit.rawValue
        }
    }
}

extension InvoiceItem {
    /// What a whole period is charged, whatever was used; nil for an item that depends on usage.
    fileprivate var flatAmount: FixedDecimal? {
        switch self {
        case .fee(let fee): return fee.amount
        case .usage(let usage):
            guard case .flat(let amount) = usage.price else { return nil }
            return amount
        case .commitment, .includedCredit: return nil
        }
    }
}

extension StoredInvoiceLine.Item {
    init(_ item: InvoiceItem) {
        self =
            switch item {
            case .fee(let fee): fee.charged == .inAdvance ? .feeInAdvance : .feeInArrears
            case .usage: .usage
            case .commitment: .commitment
            case .includedCredit: .includedCredit
            }
    }
}

extension Interval {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// The days it goes from and to on the local calendar, such as `1 Dec - 1 Jan`; the last day is not part of it.
    func days(in zone: Zone) -> String {
        [start, end].map { Self.day(of: $0, in: zone) }.joined(separator: " - ")
    }

    private static func day(of instant: Instant, in zone: Zone) -> String {
        let date = zone.localDate(at: instant)
        return "\(date.day) \(months[Int(date.month) - 1])"
    }
}
