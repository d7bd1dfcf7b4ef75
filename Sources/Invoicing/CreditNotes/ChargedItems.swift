import BillingCore
import Catalog

/// What the invoices of a subscription that stand charge for items, tax included, less what credit notes took back: so
/// that what a later invoice has given back of an item can't be taken back a second time. Items of a period whose
/// amounts depend on each other count together too: what one of them gives back may be another's.
struct ChargedItems {
    private struct Item: Hashable {
        let periodIndex: Int
        let segment: Int?
        let item: StoredInvoiceLine.Item
        let itemKey: String
        let featureID: FeatureID?
        let cell: String

        init(_ line: StoredInvoiceLine) {
            periodIndex = line.periodIndex
            segment = line.segment
            item = line.item
            itemKey = line.itemKey
            featureID = line.featureID
            cell = line.cell
        }
    }

    private struct Sum {
        var amount = FixedDecimal.zero
        var taxes: [String: FixedDecimal] = [:]

        mutating func add(_ line: CreditableLine) throws(DecimalError) {
            amount = try amount.adding(line.left)
            for tax in line.taxes { taxes[tax.rateKey] = try (taxes[tax.rateKey] ?? .zero).adding(tax.amount) }
        }
    }

    private let isTaxInclusive: Bool
    private var items: [Item: Sum] = [:]
    /// What the items of a period charge together, but for fees in advance.
    private var periods: [Int: Sum] = [:]

    init(isTaxInclusive: Bool) {
        self.isTaxInclusive = isTaxInclusive
    }

    /// Adds what an invoice charges.
    mutating func add(
        _ lines: [StoredInvoiceLine],
        less taken: [CreditNoteStore.Credited]
    ) throws(DecimalError) {
        for (line, left) in zip(lines, try left(of: lines, less: taken)) {
            try items[Item(line), default: Sum()].add(left)
            if line.dependsOnPeriod { try periods[line.periodIndex, default: Sum()].add(left) }
        }
    }

    /// What may still be taken back of each line of an invoice: what is left of it, and never more than all invoices
    /// together still charge for its item.
    func creditable(
        _ lines: [StoredInvoiceLine],
        less taken: [CreditNoteStore.Credited],
        currency: Currency
    ) throws(DecimalError) -> [CreditableLine] {
        var creditable = try creditable(byItem: lines, less: taken)
        for index in Set(lines.filter(\.dependsOnPeriod).map(\.periodIndex)).sorted() {
            let own = lines.indices.filter { lines[$0].dependsOnPeriod && lines[$0].periodIndex == index }
            let charged = periods[index] ?? Sum()
            let limited = try own.map { creditable[$0] }
                .limited(to: charged.amount, taxes: charged.taxes, currency: currency)
            for (position, line) in zip(own, limited) { creditable[position] = line }
        }
        return creditable
    }

    private func creditable(
        byItem lines: [StoredInvoiceLine],
        less taken: [CreditNoteStore.Credited]
    ) throws(DecimalError) -> [CreditableLine] {
        var creditable: [CreditableLine] = []
        for (line, left) in zip(lines, try left(of: lines, less: taken)) {
            let charged = items[Item(line)] ?? Sum()
            guard left.left > .zero, charged.amount < left.left else {
                creditable.append(left)
                continue
            }
            let taxes = left.taxes.map { tax in
                let most = max(charged.taxes[tax.rateKey] ?? .zero, .zero)
                return LineTax(rateKey: tax.rateKey, amount: min(tax.amount, most))
            }
            var tax = FixedDecimal.zero
            for part in taxes { tax = try tax.adding(part.amount) }
            // Tax alone, of an item that is taken back but for it, is none that can be taken back.
            let rest = charged.amount > tax ? charged.amount : .zero
            creditable.append(CreditableLine(number: line.number, left: rest, taxes: taxes))
        }
        return creditable
    }

    /// What is left of each line, tax included, after what credit notes took off it.
    private func left(
        of lines: [StoredInvoiceLine],
        less taken: [CreditNoteStore.Credited]
    ) throws(DecimalError) -> [CreditableLine] {
        var credited: [Int: Sum] = [:]
        for part in taken {
            var sum = credited[part.line] ?? Sum()
            sum.amount = try sum.amount.adding(part.amount).adding(part.tax)
            for tax in part.taxes {
                sum.taxes[tax.rateKey] = try (sum.taxes[tax.rateKey] ?? .zero).adding(tax.amount)
            }
            credited[part.line] = sum
        }
        var left: [CreditableLine] = []
        for line in lines {
            let gone = credited[line.number] ?? Sum()
            // Where prices contain the tax, so does what the line comes to.
            let net = try line.net
            let whole = isTaxInclusive ? net : try net.adding(line.tax)
            var taxes: [LineTax] = []
            for tax in line.facts.taxes {
                let amount = try tax.amount.subtracting(gone.taxes[tax.rateKey] ?? .zero)
                taxes.append(LineTax(rateKey: tax.rateKey, amount: amount))
            }
            left.append(
                CreditableLine(number: line.number, left: try whole.subtracting(gone.amount), taxes: taxes)
            )
        }
        return left
    }
}

extension StoredInvoiceLine {
    /// Whether its amount depends on those of other items of its period: on all but fees in advance.
    fileprivate var dependsOnPeriod: Bool { item != .feeInAdvance }
}
