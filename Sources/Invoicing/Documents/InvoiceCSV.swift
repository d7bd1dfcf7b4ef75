package import BillingCore
package import Web

/// Invoices as a table: one record per line, with the invoice's own facts repeated on each, so that a spreadsheet can
/// filter and add up. The column `total` adds up to `invoice_total - carried_forward`; the columns behind it say the
/// same on each record of an invoice. One without lines has a record all the same, whose own columns are empty or zero.
package enum InvoiceCSV {
    package static let columns = [
        "invoice_id", "invoice_number", "invoice_kind", "status", "tenant", "tenant_name", "currency", "issued_at",
        "due_at", "period_start", "period_end", "line", "kind", "description", "feature", "cell", "plan",
        "plan_version", "price_model", "line_period_start", "line_period_end", "quantity", "unit", "amount_unrounded",
        "amount", "discount", "credit", "tax_rates", "tax", "total", "invoice_total", "paid_by_credit", "amount_due",
        "paid_at", "reissue_of", "carried_forward",
    ]

    /// The file of one invoice, with its header.
    package static func file(_ document: PrintableInvoice) throws(DecimalError) -> [UInt8] {
        var writer = CSVWriter()
        writer.append(header)
        try append(document, to: &writer)
        return writer.bytes
    }

    package static let header = columns.map(CSVWriter.Field.text)

    /// The records of one invoice, without a header. Throws when the parts of a line don't add up in range.
    package static func append(_ document: PrintableInvoice, to writer: inout CSVWriter) throws(DecimalError) {
        for (index, line) in document.lines.enumerated() {
            try writer.append(facts(of: document) + record(of: line, index: index) + payment(of: document))
        }
        for (index, use) in document.unpriced.enumerated() {
            let record = record(of: use, index: document.lines.count + index, document)
            writer.append(facts(of: document) + record + payment(of: document))
        }
        if document.lines.isEmpty, document.unpriced.isEmpty {
            writer.append(facts(of: document) + recordOfNothing(in: document) + payment(of: document))
        }
    }

    private static func facts(of document: PrintableInvoice) -> [CSVWriter.Field] {
        [
            .optional(document.id), .optional(document.number), .text(document.kind), .text(document.status),
            .text(document.tenantKey), .text(document.tenant.name), .text(document.currency),
            .optional(document.issuedAt?.description), .optional(document.dueAt?.description),
            .text(document.period.start.description), .text(document.period.end.description),
        ]
    }

    private static func payment(of document: PrintableInvoice) -> [CSVWriter.Field] {
        let payment = document.payment
        return [
            .number(payment.total), .number(payment.paidByCredit), .number(payment.amountDue),
            .optional(payment.paidAt?.description), .optional(payment.reissueOf),
            .number(payment.carriedForward),
        ]
    }

    private static func record(
        of line: PrintableInvoice.Line,
        index: Int
    ) throws(DecimalError) -> [CSVWriter.Field] {
        let discounts = line.allocations.filter { $0.kind == .discount }.map(\.amount)
        let credits = line.allocations.filter { $0.kind == .credit }.map(\.amount)
        return [
            .number(String(index + 1)), .text(line.kind), .text(line.description), .optional(line.feature),
            cell(line.cell), .optional(line.plan),
            line.planVersion.map { .number(String($0)) } ?? .empty, .optional(line.priceModel),
            .text(line.period.start.description), .text(line.period.end.description),
            line.quantity.map(CSVWriter.Field.number) ?? .empty, .optional(line.unit.isEmpty ? nil : line.unit),
            .number(line.amountUnrounded), .number(line.amount),
            try sum(discounts, like: line.amount), try sum(credits, like: line.amount),
            .optional(line.taxes.isEmpty ? nil : line.taxes.map(\.label).joined(separator: "; ")),
            try sum(line.taxes.map(\.amount), like: line.amount), .number(line.total),
        ]
    }

    /// What is in no amount, as a record of the kind `unpriced`: seen in a table, and adding nothing to it.
    private static func record(
        of use: PrintableInvoice.UnpricedUse,
        index: Int,
        _ document: PrintableInvoice
    ) -> [CSVWriter.Field] {
        let none = zero(in: document)
        return [
            .number(String(index + 1)), .text("unpriced"), .text(use.text), .text(use.feature), cell(use.cell),
            .empty, .empty, .empty, .text(document.period.start.description), .text(document.period.end.description),
            .number(use.quantity), .optional(use.unit.isEmpty ? nil : use.unit), none, none, none, none, .empty, none,
            none,
        ]
    }

    /// Behind the facts of an invoice without lines.
    private static func recordOfNothing(in document: PrintableInvoice) -> [CSVWriter.Field] {
        let none = zero(in: document)
        let empty = [CSVWriter.Field](repeating: .empty, count: 12)
        return empty + [none, none, none, none, .empty, none, none]
    }

    private static func zero(in document: PrintableInvoice) -> CSVWriter.Field {
        .number(Currency(document.currency).map { Money(.zero, $0).formatted } ?? "0")
    }

    private static func cell(_ cell: [PrintableInvoice.Fact]) -> CSVWriter.Field {
        let text = cell.map { "\($0.label)=\($0.value)" }.joined(separator: " ")
        return .optional(text.isEmpty ? nil : text)
    }

    /// The sum of amounts with as many fractional digits as the line's amount has.
    private static func sum(_ amounts: [String], like amount: String) throws(DecimalError) -> CSVWriter.Field {
        var total = FixedDecimal.zero
        for amount in amounts { total = try total.adding(FixedDecimal(parsing: amount)) }
        let digits = amount.split(separator: ".", omittingEmptySubsequences: false).dropFirst().first?.count ?? 0
        return .number(total.text(minimumFractionalDigits: digits))
    }
}
