import BillingCore
import Catalog
import Usage

/// A draft computed: what its document and lines would say if it were finalised now.
struct PreparedInvoice: Sendable {
    let invoice: StoredInvoice
    let document: StoredDocument
    let lines: [StoredInvoiceLine]
    /// What it uses of each of the tenant's credits; below zero where it gives more back.
    let credits: [UUIDv7: FixedDecimal]
    /// The discounts that took something off.
    let discounts: [DiscountID]
    let paymentTermsDays: Int
    /// The rows that the invoice's own period must have, to be closed.
    let ownPeriods: [BillingPeriod.Wanted]
    /// The indices of the periods that it closes: its own, and those it adjusts.
    let closedPeriods: [Int]

    var whole: WholeInvoice { WholeInvoice(invoice: invoice, document: document, lines: lines) }
}

/// Computes a draft from what was read.
struct InvoicePreparation {
    let draft: StoredInvoice
    let records: InvoiceRecords
    let catalog: CatalogSnapshot
    /// Whether the invoice before this one, which charges this period's fees in advance, is a draft still: they are
    /// then left to it.
    var leavesAdvanceFees = false
    /// Who issues the invoice; nil where the operator has not said.
    var seller: InvoiceSeller?
    /// The name of the plan on an invoice that is made anew: plans are renamed.
    var pinnedPlanName: String?
    /// The lines of the invoice that is made anew, whose names stand.
    var pinnedLines: [StoredInvoiceLine] = []
    /// Whether everything without an amount is listed, however much there is.
    var listsAllUnpriced = false

    /// - Returns: nil where tenant or subscription do not exist.
    /// - Throws: `DecimalError.outOfRange` when an amount is 10^26 or more.
    func prepared() throws(DecimalError) -> PreparedInvoice? {
        guard let tenant = records.tenants[draft.tenantID],
            let subscription = records.subscriptions[draft.subscriptionID]
        else { return nil }
        let adjusted = records.adjustedPeriods(of: draft)
        let discounts = records.discounts[draft.tenantID] ?? []
        let grants = records.credits[draft.tenantID] ?? []
        let invoice = try Invoice(
            kind: draft.kind,
            period: draft.period,
            periods: try periods(of: subscription, adjusted: adjusted),
            discounts: discounts.map(\.value),
            credits: grants.map(\.available),
            tax: tenant.billing.tax,
            currency: tenant.currency
        )
        let texts = InvoiceTexts(
            subscription: subscription,
            catalog: catalog,
            periods: records.periods[draft.subscriptionID] ?? [],
            counters: records.counters,
            pinnedNames: Dictionary(pinnedLines.compactMap { line in line.featureID.map { ($0, line.itemName) } }) {
                first,
                _ in first
            },
            pinsProration: pinnedLines.isEmpty || pinnedLines.contains { $0.facts.prorated != nil },
            pinsCredits: !pinnedLines.contains { !$0.promotionalCredit.isZero && $0.facts.promotionalCredits.isEmpty }
        )
        var lines: [StoredInvoiceLine] = []
        for (index, line) in invoice.lines.enumerated() { lines.append(try texts.line(line, number: index + 1)) }
        let own = draft.kind == .regular ? [draft.periodIndex] : []
        return PreparedInvoice(
            invoice: draft,
            document: try document(invoice, tenant, subscription, adjusted: adjusted, texts),
            lines: lines,
            credits: try invoice.creditChanges,
            discounts: zip(discounts, invoice.discounts).filter { !$1.isZero }.map(\.0.id),
            paymentTermsDays: tenant.billing.paymentTermsDays,
            ownPeriods: own.flatMap { wanted($0, of: subscription) },
            closedPeriods: own + adjusted
        )
    }

    private func periods(
        of subscription: SubscriptionSnapshot,
        adjusted: [Int]
    ) throws(DecimalError) -> [InvoicedPeriod] {
        var periods: [InvoicedPeriod] = []
        switch draft.kind {
        case .opening:
            periods.append(try period(draft.periodIndex, .advanceFees, of: subscription))
        case .regular:
            periods.append(try period(draft.periodIndex, .whole, of: subscription))
            periods.append(try period(draft.periodIndex + 1, .advanceFees, of: subscription))
        case .adjustment:
            break
        }
        for index in adjusted { periods.append(try period(index, .again, of: subscription)) }
        return periods
    }

    private func period(
        _ index: Int,
        _ scope: InvoicedPeriod.Scope,
        of subscription: SubscriptionSnapshot
    ) throws(DecimalError) -> InvoicedPeriod {
        let usage = usage(of: index)
        var invoiced = (records.invoiced[draft.subscriptionID] ?? [:]).filter { $0.key.periodIndex == index }
        var segments: [InvoicedSegment] = []
        for part in subscription.segments(inPeriod: index) {
            let plan = part.planVersion
            let skipsAdvance = scope == .whole && leavesAdvanceFees
            segments.append(
                InvoicedSegment(
                    ordinal: part.segment.ordinal,
                    active: part.interval,
                    fees: skipsAdvance ? plan.fees.filter { $0.charged == .inArrears } : plan.fees,
                    minimumCommitment: plan.terms.minimumCommitment ?? .zero,
                    includedCredit: plan.terms.includedCredit ?? .zero,
                    usage: scope == .advanceFees ? [] : try usage.priced(in: part)
                )
            )
            if skipsAdvance { invoiced = invoiced.filter { !$0.value.isFeeInAdvance } }
        }
        return InvoicedPeriod(
            index: index,
            interval: subscription.interval(ofPeriod: index),
            scope: scope,
            segments: segments,
            invoiced: invoiced
        )
    }

    private func usage(of index: Int) -> SegmentUsage {
        let own = (records.periods[draft.subscriptionID] ?? []).map(\.period).filter { $0.index == index }
        return SegmentUsage(own, counters: records.counters)
    }

    private func wanted(_ index: Int, of subscription: SubscriptionSnapshot) -> [BillingPeriod.Wanted] {
        subscription.segments(inPeriod: index).map { part in
            BillingPeriod.Wanted(
                tenantID: draft.tenantID,
                subscriptionID: draft.subscriptionID,
                index: index,
                segment: part.segment.ordinal,
                interval: subscription.interval(ofPeriod: index)
            )
        }
    }
}

// MARK: The document

extension InvoicePreparation {
    private func document(
        _ invoice: Invoice,
        _ tenant: BilledTenant,
        _ subscription: SubscriptionSnapshot,
        adjusted: [Int],
        _ texts: InvoiceTexts
    ) throws(DecimalError) -> StoredDocument {
        let plan = subscription.planVersion(at: lastCovered(by: subscription))
        let unpriced = unpriced(of: subscription, texts) + uncosted(of: subscription, adjusted: adjusted, texts)
        return StoredDocument(
            ledgerSequence: records.ledgers[draft.tenantID] ?? 0,
            currency: invoice.currency,
            tenantKey: tenant.key,
            tenantName: tenant.name,
            amounts: InvoiceAmounts(invoice.totals),
            facts: InvoiceFacts(
                plan: plan.planKey,
                planName: pinnedPlanName ?? plan.planName,
                planVersion: plan.version,
                timezone: subscription.periods.zone.identifier,
                billingEmail: tenant.billingEmail,
                billing: tenant.billing,
                notes: tenant.billing.tax.isReverseCharge ? [Self.reverseChargeNote] : [],
                discounts: zip(records.discounts[draft.tenantID] ?? [], invoice.discounts)
                    .filter { !$1.isZero }.map { $0.fact(taken: $1) },
                credits: facts(of: invoice.credits),
                unpriced: listsAllUnpriced ? unpriced : try unpriced.shortened(),
                adjustedPeriods: adjusted,
                endsAt: subscription.endsAt,
                segmentCount: subscription.segments.count,
                scheduledSegments: scheduledSegments(of: subscription),
                seller: seller,
                returnedCredits: facts(of: invoice.returned),
                formerRates: formerRates(of: invoice, besides: tenant.billing.tax.dueRates),
                creditNotesThrough: records.lastCreditNotes[draft.subscriptionID]
            )
        )
    }

    /// The last instant that is invoiced and that the subscription covers; the first of an opening invoice, which has
    /// nothing but fees in advance.
    private func lastCovered(by subscription: SubscriptionSnapshot) -> Instant {
        guard draft.kind != .opening else { return draft.period.start }
        return min(draft.period.end, subscription.endsAt ?? .maximum).adding(microseconds: -1)
    }

    private func facts(of uses: [CreditUse]) -> [InvoiceFacts.Credit] {
        let grants = (records.credits[draft.tenantID] ?? []) + (records.unusableCredits[draft.tenantID] ?? [])
        return uses.map { use in
            InvoiceFacts.Credit(
                id: CreditGrantID(rawValue: use.id),
                name: grants.first { $0.id.rawValue == use.id }?.name ?? "",
                kind: use.kind,
                amount: use.amount
            )
        }
    }

    /// The rates of taxes that lines take back, where they are due no more.
    private func formerRates(of invoice: Invoice, besides due: [TaxRate]) -> [TaxRate] {
        let keys = Set(invoice.lines.flatMap { $0.taxes.map(\.rateKey) }).subtracting(due.map(\.key))
        guard !keys.isEmpty else { return [] }
        let known = records.invoicedRates[draft.subscriptionID] ?? []
        return keys.sorted().compactMap { key in known.first { $0.key == key } }
    }

    /// The segments that may start after the invoice is final, and be withdrawn until they do.
    private func scheduledSegments(of subscription: SubscriptionSnapshot) -> [ScheduledSegment] {
        let closed =
            draft.kind == .opening ? draft.period.start : min(draft.period.end, subscription.endsAt ?? .maximum)
        return subscription.segments.dropFirst().filter { $0.startsAt >= closed }.map(ScheduledSegment.init)
    }

    private static let reverseChargeNote = "Reverse charge: the customer accounts for the tax."

    private func unpriced(of subscription: SubscriptionSnapshot, _ texts: InvoiceTexts) -> [InvoiceFacts.Unpriced] {
        guard draft.kind == .regular else { return [] }
        let usage = usage(of: draft.periodIndex)
        return subscription.segments(inPeriod: draft.periodIndex).flatMap { usage.unpriced(in: $0) }
            .sorted { $0.key < $1.key }
            .map { row in
                InvoiceFacts.Unpriced(
                    feature: texts.key(of: row.key.feature),
                    cell: row.key.cell,
                    quantity: row.state.quantity,
                    unit: texts.unit(of: row.key.feature)
                )
            }
    }

    /// What the invoice's lines leave out for want of a provider cost, in its own period and in those it adjusts.
    private func uncosted(
        of subscription: SubscriptionSnapshot,
        adjusted: [Int],
        _ texts: InvoiceTexts
    ) -> [InvoiceFacts.Unpriced] {
        let own = draft.kind == .regular ? [draft.periodIndex] : []
        return (own + adjusted).flatMap { index in
            let usage = usage(of: index)
            return subscription.segments(inPeriod: index).flatMap { part in
                usage.uncosted(in: part).sorted { $0.key < $1.key }.map { row in
                    InvoiceFacts.Unpriced(
                        feature: texts.key(of: row.key.feature),
                        cell: row.key.cell,
                        quantity: row.state.uncosted.quantity,
                        unit: texts.unit(of: row.key.feature),
                        uncosted: InvoiceFacts.Unpriced.Uncosted(
                            events: row.state.uncosted.eventCount,
                            period: part.interval
                        )
                    )
                }
            }
        }
    }
}

extension Invoice {
    /// What is used of each credit, less what goes back to it.
    fileprivate var creditChanges: [UUIDv7: FixedDecimal] {
        get throws(DecimalError) {
            var changes: [UUIDv7: FixedDecimal] = [:]
            for use in credits { try changes.add([use.id: use.amount]) }
            for use in returned { try changes.add([use.id: use.amount.negated]) }
            return changes
        }
    }
}

extension InvoicedAmount {
    fileprivate var isFeeInAdvance: Bool { if case .fee(let fee) = item { fee.charged == .inAdvance } else { false } }
}

extension DiscountRecord {
    fileprivate func fact(taken: FixedDecimal) -> InvoiceFacts.Discount {
        switch value {
        case .percent(let percent):
            InvoiceFacts.Discount(id: id, name: name, percent: percent, amount: nil, taken: taken)
        case .amount(let amount):
            InvoiceFacts.Discount(id: id, name: name, percent: nil, amount: amount, taken: taken)
        }
    }
}
