import BillingCore

/// Two invoices for the same period, item by item.
struct WhatIfComparison: Sendable {
    struct Row: Sendable {
        let item: InvoiceItem
        /// Nil where that side does not charge for the item.
        let current: FixedDecimal?
        let proposed: FixedDecimal?
        /// What was used, for a feature's usage.
        let quantity: FixedDecimal?
        let delta: FixedDecimal
    }

    /// In the order of the proposed invoice, then what only the current one has.
    let rows: [Row]

    /// - Throws: `DecimalError.outOfRange` when a sum leaves the range of an amount.
    init(current: Invoice, proposed: Invoice) throws(DecimalError) {
        let left = try Self.sums(current.lines)
        let right = try Self.sums(proposed.lines)
        var rows: [Row] = []
        for sum in right.order.compactMap({ right.sums[$0] }) {
            rows.append(try Self.row(sum.item, left.sums[Name(sum.item)], sum))
        }
        for sum in left.order.compactMap({ left.sums[$0] }) where right.sums[Name(sum.item)] == nil {
            rows.append(try Self.row(sum.item, sum, nil))
        }
        self.rows = rows
    }

    private struct Sum {
        let item: InvoiceItem
        var amount: FixedDecimal
        var quantity: FixedDecimal?
    }

    /// What is compared: a fee whenever it is charged.
    private enum Name: Hashable {
        case fee(String)
        case other(InvoiceItemKey.Item)

        init(_ item: InvoiceItem) {
            self = if case .fee(let fee) = item { .fee(fee.key) } else { .other(item.key) }
        }
    }

    private typealias Sums = (sums: [Name: Sum], order: [Name])

    /// The lines of all segments of an item together.
    private static func sums(_ lines: [InvoiceLine]) throws(DecimalError) -> Sums {
        var sums: [Name: Sum] = [:]
        var order: [Name] = []
        for line in lines {
            let key = Name(line.item)
            var quantity: FixedDecimal?
            if case .usage(let usage) = line.item { quantity = try usage.quantity }
            if var sum = sums[key] {
                sum.amount = try sum.amount.adding(line.amount)
                if let quantity { sum.quantity = try (sum.quantity ?? .zero).adding(quantity) }
                sums[key] = sum
            } else {
                sums[key] = Sum(item: line.item, amount: line.amount, quantity: quantity)
                order.append(key)
            }
        }
        return (sums, order)
    }

    private static func row(_ item: InvoiceItem, _ current: Sum?, _ proposed: Sum?) throws(DecimalError) -> Row {
        Row(
            item: item,
            current: current?.amount,
            proposed: proposed?.amount,
            quantity: (proposed ?? current)?.quantity,
            delta: try (proposed?.amount ?? .zero).subtracting(current?.amount ?? .zero)
        )
    }
}
