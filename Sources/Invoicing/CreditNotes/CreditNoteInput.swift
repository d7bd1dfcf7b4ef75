import BillingCore
import HTTPTypes
import Web

/// The body of a new credit note.
struct CreditNoteInput: Sendable {
    /// What is taken back, tax included.
    enum Value: Sendable {
        case amount(FixedDecimal)
        case lines([(line: Int, amount: FixedDecimal)])
    }

    let value: Value
    let reason: String
    let refund: StoredCreditNote.Refund

    private static let maximumLines = 1_000

    static func read(_ fields: JSONObjectReader) throws -> CreditNoteInput {
        let value = readValue(fields)
        let reason = fields.string("reason", maximumLength: 500)
        let refund = fields.choice("refund", default: StoredCreditNote.Refund.credit)
        try fields.finish()
        return CreditNoteInput(value: value, reason: reason, refund: refund)
    }

    /// What the currency, which only the invoice tells, makes of the amounts.
    func checkMinorUnits(of currency: Currency) throws(ValidationFailure) {
        let amounts: [(pointer: String, amount: FixedDecimal)] =
            switch value {
            case .amount(let amount): [("/amount", amount)]
            case .lines(let lines): lines.enumerated().map { ("/lines/\($0)/amount", $1.amount) }
            }
        let faults = amounts.filter { !currency.hasMinorUnits($0.amount) }.map { pointer, _ in
            let detail = "\"amount\" must have at most \(currency.minorUnits) digits after the decimal point"
            return FieldFault(pointer: pointer, code: "out_of_range", detail: "\(detail), as \(currency) has")
        }
        if !faults.isEmpty { throw ValidationFailure(faults) }
    }

    private static func readValue(_ fields: JSONObjectReader) -> Value {
        let hasLines = fields.contains("lines")
        let hasAmount = fields.contains("amount")
        if hasLines, hasAmount {
            let detail = "a credit note has \"lines\" or an \"amount\", not both"
            fields.fault(at: "amount", code: "not_applicable", detail: detail)
        } else if !hasLines, !hasAmount {
            fields.fault(at: "amount", code: "required", detail: "\"amount\" or \"lines\" is required")
        }
        guard hasLines else { return .amount(hasAmount ? positiveAmount(fields) : .zero) }
        var seen: Set<Int> = []
        let lines = fields.objects("lines", minimumCount: 1, maximumCount: maximumLines) { line in
            let number = line.integer("line", in: 1...Int(Int32.max))
            if !seen.insert(number).inserted {
                line.fault(at: "line", code: "duplicate", detail: "each line of the invoice may be named once")
            }
            return (line: number, amount: positiveAmount(line))
        }
        return .lines(lines)
    }

    private static func positiveAmount(_ fields: JSONObjectReader) -> FixedDecimal {
        let known = fields.faults.count
        let amount = fields.decimal("amount")
        if fields.faults.count == known, amount <= .zero {
            fields.fault(at: "amount", code: "out_of_range", detail: "\"amount\" must be above zero")
        }
        return amount
    }
}

extension CreditNoteRefusal {
    /// - Parameter input: what was asked for, to point at.
    func problem(for input: CreditNoteInput, currency: Currency) -> Problem {
        switch self {
        case .unknownLine(let line):
            Self.refused("invoice_line_not_found", input.pointer(to: line, "line"), "The invoice has no line \(line).")
        case .exceedsLine(let line, let left):
            Self.refused(
                "credit_exceeds_invoice",
                input.pointer(to: line, "amount"),
                "Of line \(line) \(Money(left, currency).formatted) \(currency) is left to take back, tax included."
            )
        case .exceedsInvoice(let left):
            Self.refused(
                "credit_exceeds_invoice",
                input.wholePointer,
                "Of the invoice \(Money(left, currency).formatted) \(currency) is left to take back, tax included."
            )
        case .outOfRange: InvoiceFault.amountOutOfRange.problem
        }
    }

    private static func refused(_ code: String, _ pointer: String, _ detail: String) -> Problem {
        Problem(
            .unprocessableContent,
            code: code,
            detail: detail,
            errors: [FieldFault(pointer: pointer, code: code, detail: detail)]
        )
    }
}

extension CreditNoteInput {
    fileprivate var wholePointer: String {
        if case .lines = value { "/lines" } else { "/amount" }
    }

    fileprivate func pointer(to line: Int, _ member: String) -> String {
        guard case .lines(let lines) = value, let index = lines.firstIndex(where: { $0.line == line }) else {
            return wholePointer
        }
        return "/lines/\(index)/\(member)"
    }
}
