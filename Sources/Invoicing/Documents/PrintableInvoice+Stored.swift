package import BillingCore
import Catalog
import Web

extension PrintableInvoice {
    /// A stored invoice as it is shown: from what was pinned with it alone, so that it reads the same whatever happens
    /// to plans, prices and names later. Of what happens afterwards only that it was voided is told.
    /// - Throws: `DecimalError.outOfRange` when a line's parts leave the range of an amount.
    package init(_ whole: WholeInvoice) throws(DecimalError) {
        let invoice = whole.invoice
        let document = whole.document
        let facts = document.facts
        let zone = Zone(identifier: facts.timezone) ?? .utc
        let text = document.currency.formatted
        var lines: [Line] = []
        for line in whole.lines { lines.append(try Line(line, of: document)) }
        let names = Dictionary(whole.lines.map { ($0.itemKey, $0.itemName) }) { first, _ in first }
        self.init(
            id: invoice.id.description,
            number: document.number,
            title: Self.title(of: invoice.status),
            kind: invoice.kind.rawValue,
            status: invoice.status.rawValue,
            seller: facts.seller.map { Party(name: $0.name, lines: $0.lines) } ?? Party(name: ""),
            tenantKey: document.tenantKey,
            tenant: Party(name: document.tenantName, lines: facts.addressLines),
            currency: document.currency.code,
            period: invoice.period,
            issuedAt: document.finalizedAt,
            dueAt: document.dueAt,
            documentedAt: document.finalizedAt ?? invoice.period.end,
            payment: Payment(
                total: text(document.amounts.total),
                paidByCredit: text(document.amounts.paidByCredit),
                amountDue: text(document.amounts.due),
                carriedForward: text(document.amounts.carriedForward),
                paidAt: invoice.paidAt,
                reissueOf: invoice.reissueOf?.description
            ),
            facts: Self.facts(of: whole, zone: zone),
            lines: lines,
            totals: try Self.totals(of: whole, text),
            unpriced: facts.unpriced.map { UnpricedUse($0, named: names[$0.feature]) },
            notes: facts.notes
        )
    }

    private static func title(of status: InvoiceStatus) -> String {
        switch status {
        case .draft: "Draft invoice"
        case .void: "Void invoice"
        case .finalized, .paid, .uncollectible: "Invoice"
        }
    }

    private static func facts(of whole: WholeInvoice, zone: Zone) -> [Fact] {
        let document = whole.document
        let plan = "\(document.facts.planName), version \(document.facts.planVersion)"
        return [
            document.number.map { Fact("Invoice number", $0) },
            document.finalizedAt.map { Fact("Issue date", InvoiceText.date($0, in: zone)) },
            whole.invoice.status == .void
                ? whole.invoice.voidedAt.map { Fact("Voided", InvoiceText.date($0, in: zone)) }
                : document.dueAt.map { Fact("Due date", InvoiceText.date($0, in: zone)) },
            Fact("Period", InvoiceText.dates(whole.invoice.period, in: zone)),
            Fact("Plan", plan),
            Fact("Currency", document.currency.code),
        ].compactMap { $0 }
    }

    private static func totals(
        of whole: WholeInvoice,
        _ text: (FixedDecimal) -> String
    ) throws(DecimalError) -> [Total] {
        let amounts = whole.document.amounts
        let tax = whole.document.facts.billing.tax
        var totals = [Total("Subtotal", text(amounts.subtotal))]
        if !amounts.discount.isZero { totals.append(Total("Discounts", text(amounts.discount.negated))) }
        if !amounts.credits.isZero { totals.append(Total("Credits", text(amounts.credits.negated))) }
        for rate in whole.document.facts.taxRates {
            var sum = FixedDecimal.zero
            for line in whole.lines {
                for tax in line.facts.taxes where tax.rateKey == rate.key { sum = try sum.adding(tax.amount) }
            }
            totals.append(Total(tax.isInclusive ? "\(rate.label), included" : rate.label, text(sum)))
        }
        totals.append(Total("Total", text(amounts.total), isEmphasised: true))
        if !amounts.carriedForward.isZero {
            totals.append(Total("Credited to the account", text(amounts.carriedForward)))
        }
        if whole.invoice.status == .void {
            totals.append(Total("Void: amount due", text(.zero), isEmphasised: true))
        } else if !amounts.paidByCredit.isZero {
            totals.append(Total("Paid by credit", text(amounts.paidByCredit.negated)))
            totals.append(Total("Amount due", text(amounts.due), isEmphasised: true))
        }
        return totals
    }
}

extension PrintableInvoice.Line {
    fileprivate init(_ line: StoredInvoiceLine, of document: StoredDocument) throws(DecimalError) {
        let text = document.currency.formatted
        let treatment = document.facts.billing.tax
        let tax = treatment.isInclusive ? FixedDecimal.zero : line.tax
        self.init(
            kind: line.kind.rawValue,
            description: line.description,
            period: line.period,
            feature: line.item == .usage ? line.itemKey : nil,
            cell: PrintableInvoice.cellFacts(line.cell),
            plan: line.facts.plan,
            planVersion: line.facts.planVersion,
            priceModel: line.facts.priceModel,
            quantity: line.quantity?.description,
            unit: line.facts.unit ?? "",
            tiers: line.steps.map(PrintableInvoice.Tier.init),
            amount: text(line.amount),
            amountUnrounded: line.amountExact,
            correction: line.kind == .adjustment ? line.correction(text) : nil,
            allocations: try Self.allocations(of: line, document.facts, text),
            taxes: line.facts.taxes.map { tax in
                let rate = document.facts.taxRates.first { $0.key == tax.rateKey }
                return PrintableInvoice.Tax(
                    label: rate?.label ?? tax.rateKey,
                    amount: text(tax.amount),
                    isIncluded: treatment.isInclusive
                )
            },
            total: text(try line.net.adding(tax))
        )
    }

    private static func allocations(
        of line: StoredInvoiceLine,
        _ facts: InvoiceFacts,
        _ text: @escaping (FixedDecimal) -> String
    ) throws(DecimalError) -> [PrintableInvoice.Allocation] {
        let discounts = facts.discounts.filter { !$0.taken.isZero }.map(\.name)
        let credits = (facts.credits + facts.returnedCredits)
            .filter { line.facts.promotionalCredits[$0.id.rawValue] != nil }.map(\.name)
        let parts: [(PrintableInvoice.Allocation.Kind, String, FixedDecimal)] = [
            (.discount, discounts.isEmpty ? "Discount" : discounts.joined(separator: ", "), line.discount),
            (.credit, "Included credit", line.includedCredit),
            (.credit, credits.isEmpty ? "Credit" : credits.joined(separator: ", "), line.promotionalCredit),
            (.credit, "Credit notes before", try line.creditedBefore),
        ]
        return parts.filter { !$0.2.isZero }.map { kind, label, amount in
            PrintableInvoice.Allocation(kind, label: label, amount: text(amount.negated))
        }
    }
}

extension PrintableInvoice.UnpricedUse {
    /// - Parameter name: the feature's; its key stands for it where no line names it.
    fileprivate init(_ unpriced: InvoiceFacts.Unpriced, named name: String?) {
        self.init(
            feature: unpriced.feature,
            cell: PrintableInvoice.cellFacts(unpriced.cell),
            quantity: unpriced.quantity.description,
            unit: unpriced.unit,
            text: unpriced.text(named: name)
        )
    }
}

extension InvoiceFacts.Unpriced {
    /// A sentence for people.
    /// - Parameter name: the feature's; its key stands for it where no line names it.
    func text(named name: String?) -> String {
        let cell =
            sumOf.map { "\(InvoiceText.grouped(String($0))) more together" }
            ?? PrintableInvoice.cellFacts(self.cell).map { "\($0.label) \($0.value)" }.joined(separator: ", ")
        let subject = "\(name ?? feature)\(cell.isEmpty ? "" : " (\(cell))")"
        let units = InvoiceText.counted(quantity.description, unit)
        guard let uncosted else { return "\(subject): \(units) without a price, not in this amount" }
        let events = InvoiceText.counted(String(uncosted.events), "event")
        let used = quantity.isZero ? "" : " (\(units))"
        return "\(subject): \(events)\(used) without a known cost, not in this amount"
    }
}

extension PrintableInvoice {
    /// The dimension values in the canonical text of a cell, by ascending name; none for the empty text.
    static func cellFacts(_ cell: String) -> [Fact] {
        guard !cell.isEmpty, let json = try? JSONValue(stored: cell), case .object(let members) = json else {
            return []
        }
        return members.map { Fact($0.name, $0.value.asText ?? $0.value.text) }
    }

    /// The same by name.
    static func cellValues(_ cell: String) -> [String: String] {
        Dictionary(cellFacts(cell).map { ($0.label, $0.value) }) { first, _ in first }
    }
}

extension PrintableInvoice.Tier {
    fileprivate init(_ step: PriceStep) {
        self.init(
            label: step.label,
            quantity: step.quantity.isZero ? "" : step.quantity.description,
            unitAmount: step.hasUnitAmount ? step.unitAmount.description : nil,
            flatAmount: step.flatAmount.isZero ? nil : step.flatAmount.description,
            amount: step.amount
        )
    }
}

extension TaxRate {
    /// `VAT 19 %`.
    var label: String { "\(name) \(percent) %" }
}

extension InvoiceFacts {
    /// Below the tenant's name: address, tax number, email.
    var addressLines: [String] {
        let address = billing.address
        let city = [address?.postalCode, address?.city].compactMap { $0 }.joined(separator: " ")
        let lines = [
            address?.line1, address?.line2, city, address?.state, address?.country,
            billing.taxID.map { "Tax ID \($0)" },
            billingEmail,
        ]
        return lines.compactMap { $0 }.filter { !$0.isEmpty }
    }
}

extension StoredInvoiceLine {
    /// The steps of the exact amount. Tiers that follow each other in a graduated price begin where the one before
    /// ends.
    var steps: [PriceStep] {
        var above: FixedDecimal?
        return facts.tiers.map { tier in
            defer { above = tier.upTo }
            return PriceStep(
                basis: TierCharge.Basis(rawValue: tier.basis) ?? .tier,
                isOnly: facts.priceModel == "per_unit" || facts.priceModel == nil,
                above: facts.priceModel == "graduated" ? above : nil,
                upTo: tier.upTo,
                quantity: tier.quantity,
                unitAmount: tier.unitAmount,
                flatAmount: tier.flatAmount,
                amount: tier.amount
            )
        }
    }
}
