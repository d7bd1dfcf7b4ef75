import BillingCore
import Testing

@Suite struct MatrixPriceTests {
    private static let unit = Price.perUnit(unitAmount: .one)

    private func matrix(default defaultPrice: Price? = nil) -> MatrixPrice {
        MatrixPrice(
            dimensions: ["model", "token_class"],
            cells: [MatrixPrice.Cell(values: ["gpt-4o", "output"], price: .perUnit(unitAmount: FixedDecimal(2)))],
            defaultPrice: defaultPrice
        )
    }

    @Test func `a listed combination has its own price, any other the default`() {
        let price = Price.matrix(matrix(default: Self.unit))
        #expect(price.price(ofCell: matrix().cell(["gpt-4o", "output"]).text) == .perUnit(unitAmount: FixedDecimal(2)))
        #expect(price.price(ofCell: matrix().cell(["gpt-4o", "input"]).text) == Self.unit)
    }

    @Test func `a combination without a price has none, and is not free`() {
        #expect(Price.matrix(matrix()).price(ofCell: matrix().cell(["o3", "output"]).text) == nil)
    }

    @Test func `the pooled counter is charged by every other price, and never by a matrix`() throws {
        #expect(Self.unit.price(ofCell: "") == Self.unit)
        #expect(Self.unit.price(ofCell: matrix().cell(["a", "b"]).text) == nil)
        #expect(Price.matrix(matrix()).price(ofCell: "") == nil)
        #expect(throws: DecimalError.malformed) {
            try Price.matrix(matrix(default: Self.unit)).charge(quantity: .one, eventCount: 1)
        }
    }

    @Test(arguments: [
        ("gpt-4o", #"{"model":"gpt-4o"}"#), ("", #"{"model":""}"#), (#"a"b\c"#, #"{"model":"a\"b\\c"}"#),
        ("\u{e9}", #"{"model":"\u00e9"}"#), ("e\u{301}", #"{"model":"e\u0301"}"#), ("\n", #"{"model":"\u000a"}"#),
        ("\u{1F600}", #"{"model":"\ud83d\ude00"}"#),
    ])
    func `the text of a cell is JSON in ASCII, so that equal texts are equal bytes`(value: String, text: String) {
        #expect(PriceCell(dimensions: ["model"], values: [value]).text == text)
        #expect(PriceCell.byteCount(of: value) == text.utf8.count - #"{"model":""}"#.utf8.count)
    }

    @Test func `the sum of the cells' marginal charges is what the cells come to, however usage is spread`() throws {
        var random = RandomPrices(seed: 90)
        for _ in 0..<1_000 {
            let cells = ["a", "b", "c"]
            let listed = try cells.dropLast().map {
                MatrixPrice.Cell(values: [$0], price: try random.price(.graduated))
            }
            let matrix = MatrixPrice(dimensions: ["d"], cells: listed, defaultPrice: try random.price(.packages))
            var totals: [String: UsageTotal] = [:]
            var sum = ExactAmount.zero
            for _ in 0..<random.number(1...15) {
                let cell = matrix.cell([cells[random.number(0...2)]]).text
                let before = totals[cell] ?? .zero
                let after = UsageTotal(
                    quantity: try before.quantity.adding(random.quantity(0...200)),
                    eventCount: before.eventCount + 1
                )
                let price = try #require(matrix.price(ofCell: cell))
                sum = try sum.adding(price.marginalCharge(from: before, to: after))
                totals[cell] = after
            }
            var whole = ExactAmount.zero
            for (cell, total) in totals {
                whole = try whole.adding(#require(matrix.price(ofCell: cell)).charge(for: total))
            }
            #expect(sum == whole)
        }
    }
}
