/// The table of an invoice's lines as HTML and PDF both show it: for each line a row, and below it rows that say how
/// its amount comes about, and what it adds to the total. Steps of a price are exact and have a column of their own, so
/// that the column of amounts adds up.
struct InvoiceTable: Sendable, Hashable {
    static let columns = ["Description", "Quantity", "Unit price", "Step", "Amount"]

    struct Row: Sendable, Hashable {
        let description: String
        let quantity: String
        let unitPrice: String
        /// What a step of the price comes to, exact.
        let step: String
        let amount: String

        init(
            _ description: String,
            quantity: String = "",
            unitPrice: String = "",
            step: String = "",
            amount: String = ""
        ) {
            self.description = description
            self.quantity = quantity
            self.unitPrice = unitPrice
            self.step = step
            self.amount = amount
        }

        var cells: [String] { [description, quantity, unitPrice, step, amount] }
    }

    /// One line of the invoice with its details, kept together on a page where that is possible.
    struct Group: Sendable, Hashable {
        let line: Row
        let details: [Row]
    }

    let groups: [Group]

    init(_ document: PrintableInvoice) {
        groups = document.lines.map(Group.init)
    }
}

extension InvoiceTable.Group {
    fileprivate init(_ line: PrintableInvoice.Line) {
        let amounts = InvoiceText.grouped
        // A price with one step over the whole quantity needs no second row to be understood; packages do.
        let only = line.tiers.count == 1 ? line.tiers.first : nil
        let isSimple =
            only.map { $0.flatAmount == nil && $0.unitAmount != nil && $0.quantity == line.quantity } ?? false
        var details: [InvoiceTable.Row] = []
        if !line.cell.isEmpty {
            let cell = line.cell.map { "\($0.label) \($0.value)" }.joined(separator: ", ")
            details.append(InvoiceTable.Row(cell))
        }
        if let correction = line.correction { details.append(InvoiceTable.Row(correction)) }
        if !isSimple {
            details += line.tiers.map(Self.row)
        }
        for allocation in line.allocations {
            details.append(InvoiceTable.Row(allocation.label, amount: amounts(allocation.amount)))
        }
        for tax in line.taxes {
            let label = tax.isIncluded ? "\(tax.label), included" : tax.label
            details.append(InvoiceTable.Row(label, amount: amounts(tax.amount)))
        }
        if line.total != line.amount { details.append(InvoiceTable.Row("Line total", amount: amounts(line.total))) }
        let quantity = line.quantity.map { amounts($0) + (line.unit.isEmpty ? "" : " \(line.unit)") }
        self.line = InvoiceTable.Row(
            line.description,
            quantity: quantity ?? "",
            unitPrice: isSimple ? only?.unitAmount.map(amounts) ?? "" : "",
            amount: amounts(line.amount)
        )
        self.details = details
    }

    private static func row(of tier: PrintableInvoice.Tier) -> InvoiceTable.Row {
        let amounts = InvoiceText.grouped
        let flat = tier.unitAmount == nil ? nil : tier.flatAmount
        return InvoiceTable.Row(
            flat.map { "\(tier.label), with \(amounts($0)) flat" } ?? tier.label,
            quantity: amounts(tier.quantity),
            unitPrice: tier.unitAmount.map(amounts) ?? "",
            step: amounts(tier.amount)
        )
    }
}
