import TestSupport
import Testing

@testable import BillingCore

@Suite struct CreditNoteTests {
    private static func amount(_ text: String) throws -> FixedDecimal { try FixedDecimal(parsing: text) }

    private static func line(_ number: Int, _ left: String, _ taxes: String...) throws -> CreditableLine {
        CreditableLine(
            number: number,
            left: try amount(left),
            taxes: try taxes.enumerated().map { LineTax(rateKey: "rate-\($0)", amount: try amount($1)) }
        )
    }

    @Test func `a part of a line has its part of the tax, and the rest the rest`() throws {
        let lines = [try Self.line(1, "11.90", "1.90")]
        let half = try CreditNote(
            parts: [(line: 1, amount: try Self.amount("5.95"))],
            of: lines,
            left: try Self.amount("11.90"),
            currency: .usd
        )
        #expect(half.amount == (try Self.amount("5.95")))
        #expect(half.tax == (try Self.amount("0.95")))
        let rest = try CreditNote(
            amount: try Self.amount("5.95"),
            of: [try Self.line(1, "5.95", "0.95")],
            left: try Self.amount("5.95"),
            currency: .usd
        )
        #expect(rest.tax == (try Self.amount("0.95")))
    }

    @Test func `an amount is spread over what is left of the lines above zero`() throws {
        let lines = [try Self.line(1, "30"), try Self.line(2, "-5"), try Self.line(3, "10"), try Self.line(4, "0")]
        let note = try CreditNote(
            amount: try Self.amount("0.03"),
            of: lines,
            left: try Self.amount("35"),
            currency: .usd
        )
        #expect(note.lines.map(\.number) == [1, 3])
        #expect(note.lines.map(\.amount) == [try Self.amount("0.02"), try Self.amount("0.01")])
    }

    @Test func `more than is left of a line, or of the whole, is refused`() throws {
        let lines = [try Self.line(1, "30"), try Self.line(2, "-5")]
        let left = try Self.amount("25")
        let (thirtyOne, thirty) = (try Self.amount("30.01"), try Self.amount("30"))
        #expect(throws: CreditNoteRefusal.exceedsLine(1, left: thirty)) {
            try CreditNote(parts: [(line: 1, amount: thirtyOne)], of: lines, left: left, currency: .usd)
        }
        #expect(throws: CreditNoteRefusal.exceedsInvoice(left: left)) {
            try CreditNote(parts: [(line: 1, amount: thirty)], of: lines, left: left, currency: .usd)
        }
        #expect(throws: CreditNoteRefusal.exceedsInvoice(left: left)) {
            try CreditNote(amount: thirty, of: lines, left: left, currency: .usd)
        }
        #expect(throws: CreditNoteRefusal.exceedsLine(2, left: .zero)) {
            try CreditNote(parts: [(line: 2, amount: .one)], of: lines, left: left, currency: .usd)
        }
        #expect(throws: CreditNoteRefusal.unknownLine(3)) {
            try CreditNote(parts: [(line: 3, amount: .one)], of: lines, left: left, currency: .usd)
        }
    }

    @Test(arguments: [Currency.usd, .jpy, .kwd])
    func `whatever parts an invoice is taken back in, in the end all of it and its taxes are`(_ currency: Currency)
        throws
    {
        var random = SeededGenerator(seed: 20_261_125)
        let unit = try Self.unit(of: currency)
        for _ in 0..<500 {
            var lines = try (1...Int.random(in: 1...5, using: &random)).map { number in
                try Self.randomLine(number, unit, &random)
            }
            let whole = try Self.sum(lines.map(\.left))
            let taxes = try Self.sum(lines.flatMap { $0.taxes.map(\.amount) })
            var (left, credited, tax) = (whole, FixedDecimal.zero, FixedDecimal.zero)
            while left > .zero {
                let units = Int64(clamping: left.unscaled / unit.unscaled)
                let part = try Self.times(unit, Int64.random(in: 1...units, using: &random))
                let note = try CreditNote(amount: part, of: lines, left: left, currency: currency)
                #expect(note.amount == part)
                #expect(note.lines.allSatisfy { $0.tax <= $0.amount && !$0.tax.isNegative })
                #expect(note.lines.allSatisfy { $0.taxes.allSatisfy { !$0.amount.isNegative } })
                #expect(try Self.sum(note.lines.flatMap { $0.taxes.map(\.amount) }) == note.tax)
                lines = try lines.map { try $0.less(note) }
                left = try left.subtracting(note.amount)
                credited = try credited.adding(note.amount)
                tax = try tax.adding(note.tax)
            }
            #expect(credited == whole)
            #expect(tax == taxes)
            #expect(lines.allSatisfy { $0.left.isZero && $0.taxes.allSatisfy(\.amount.isZero) })
        }
    }

    @Test func `the largest amounts are taken back exactly`() throws {
        let largest = try Self.amount("99999999999999999999999999")
        let lines = [CreditableLine(number: 1, left: largest, taxes: [LineTax(rateKey: "vat", amount: largest)])]
        let note = try CreditNote(amount: largest, of: lines, left: largest, currency: .kwd)
        #expect(note.tax == largest)
    }

    private static func unit(of currency: Currency) throws -> FixedDecimal {
        switch currency.minorUnits {
        case 0: .one
        case 2: try amount("0.01")
        default: try amount("0.001")
        }
    }

    private static func times(_ unit: FixedDecimal, _ count: Int64) throws -> FixedDecimal {
        try unit.multiplied(by: FixedDecimal(count)).rounded(toDigits: 3)
    }

    private static func sum(_ amounts: [FixedDecimal]) throws -> FixedDecimal {
        try amounts.reduce(.zero) { try $0.adding($1) }
    }

    private static func randomLine(
        _ number: Int,
        _ unit: FixedDecimal,
        _ random: inout SeededGenerator
    ) throws -> CreditableLine {
        let net = Int64.random(in: 0...50, using: &random)
        let taxes = (0..<Int.random(in: 0...4, using: &random)).map { _ in
            Int64.random(in: 0...(net / 2), using: &random)
        }
        return CreditableLine(
            number: number,
            left: try times(unit, taxes.reduce(net, +)),
            taxes: try taxes.enumerated().map { LineTax(rateKey: "rate-\($0)", amount: try times(unit, $1)) }
        )
    }
}

extension CreditableLine {
    fileprivate func less(_ note: CreditNote) throws -> CreditableLine {
        guard let taken = note.lines.first(where: { $0.number == number }) else { return self }
        return CreditableLine(
            number: number,
            left: try left.subtracting(taken.amount),
            taxes: try zip(taxes, taken.taxes).map { own, gone in
                LineTax(rateKey: own.rateKey, amount: try own.amount.subtracting(gone.amount))
            }
        )
    }
}
