import Foundation
import TestSupport
import Testing

@testable import Invoicing

@Suite struct InvoicePDFTests {
    /// The pages' texts as poppler reads them out of the file, white space made single.
    private static func pages(_ document: PrintableInvoice) async throws -> [String] {
        let pdf = try InvoicePDF.render(document)
        return try await withTemporaryDirectory { directory in
            let path = directory.appendingPathComponent("invoice.pdf")
            try Data(pdf).write(to: path)
            try SampleInvoice.keep(pdf, as: "invoice-\(document.lines.count).pdf")
            let text = try await TestTools.run("pdftotext", ["-raw", path.path, "-"], in: directory)
            return text.split(separator: "\u{C}").map { page in
                page.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            }.filter { !$0.isEmpty }
        }
    }

    @Test func everyLineFactAndTotalIsInTheFile() async throws {
        let pages = try await Self.pages(SampleInvoice.full)
        #expect(pages.count == 1)
        let text = pages.joined()
        for expected in [
            "Turnpike Resale Ltd", "Billed to", "Åcme Große Söhne GmbH & Co. <KG>", "Tax number DE123456789",
            "INV-000042", "Due date 1 January 2027", "Platform fee (1 Dec - 1 Jan)", "20.00",
            "Discount LAUNCH 10 % -2.00", "VAT 19 % 3.42", "617,284,331,000 token", "1,234,567.16",
            "above 1,000,000, with 0.5 flat 617,283,331,000 0.000002 1,234,567.162", "model gpt-4o, token_class output",
            "50,000 token 0.00001 0.50", "1,469,156.94 USD", "1,469,146.94 USD",
            "Reverse charge: the recipient owes the tax.", "Page 1 of 1",
        ] {
            #expect(text.contains(expected), "\(expected) is not in \(text)")
        }
    }

    @Test func aLongTableGoesOnWithItsHeadRepeatedAndPagesCounted() async throws {
        let document = SampleInvoice.many(100)
        let pages = try await Self.pages(document)
        #expect(pages.count > 4)
        for (index, page) in pages.enumerated() {
            #expect(page.contains("Description Quantity Unit price Step Amount"))
            #expect(page.contains("Page \(index + 1) of \(pages.count)"))
        }
        for index in 1...100 {
            #expect(pages.filter { $0.contains("Line \(index) ") }.count == 1)
        }
    }

    @Test func namesInOtherScriptsAndLongWordsAreSetWhole() async throws {
        let text = try await Self.pages(SampleInvoice.awkward).joined().filter { !$0.isWhitespace }
        for name in SampleInvoice.awkwardNames where !name.contains("شركة") && !name.contains("\u{338}") {
            let expected = name.filter { !$0.isWhitespace }
            #expect(text.contains(expected), "\(expected) is not in the text")
        }
    }

    /// How many words of all pages stand below the place where a page's text ends.
    private static func wordsInFooters(_ document: PrintableInvoice) async throws -> Int {
        let pdf = try InvoicePDF.render(document)
        return try await withTemporaryDirectory { directory in
            let path = directory.appendingPathComponent("invoice.pdf")
            try Data(pdf).write(to: path)
            let text = try await TestTools.run("pdftotext", ["-bbox", path.path, "-"], in: directory)
            let ends = text.matches(of: /yMax="([0-9.]+)">/).compactMap { Double($0.output.1) }
            return ends.filter { $0 > PDFPages.bottom }.count
        }
    }

    @Test func totalsWithLongLabelsStayOffTheFooter() async throws {
        var document = SampleInvoice.full
        let names = (1...6).map { rate in (1...36).map { "rate\(rate)name\($0)" }.joined(separator: " ") }
        document.totals = names.map { PrintableInvoice.Total($0, "1.00") }
        document.totals.append(.init("Total", "1469156.94", isEmphasised: true))
        let pages = try await Self.pages(document)
        let words = Set(pages.joined(separator: " ").split(separator: " ").map(String.init))
        #expect(names.flatMap { $0.split(separator: " ").map(String.init) }.allSatisfy(words.contains))
        #expect(words.contains("1,469,156.94") && words.contains("of") && pages.count > 1)
        // "Invoice INV-000042" and "Page 1 of 2".
        #expect(try await Self.wordsInFooters(document) == 6 * pages.count)
    }

    /// A part of a number would read as another number.
    @Test func noNumberIsBroken() async throws {
        let amounts = ["10000000.00", "1000000000", "-1234567.89", "12345678901234567890123456.789"]
        let prices = ["0.000000025", "0.0000000125", "12345678901234.123456789012", "0.000000000001"]
        let lines = zip(amounts, prices).map { amount, price in
            var line = SampleInvoice.tokens
            line.unit = "tokens"
            line.quantity = "1234567890.123456789012"
            line.amount = amount
            line.total = amount
            line.taxes = []
            line.tiers = [.init(label: "all", quantity: "1234567890.123456789012", unitAmount: price, amount: "1")]
            return line
        }
        var stepped = SampleInvoice.tokens
        stepped.tiers[1].amount = "1234567.123456789012345678901234"
        let text = try await Self.pages(SampleInvoice.document(lines: lines + [stepped])).joined(separator: " ")
        let words = text.split(separator: " ").map(String.init)
        for number in amounts + prices + ["1234567.123456789012345678901234"] {
            #expect(words.contains(InvoiceText.grouped(number)), "\(number) is not in \(text)")
        }
        #expect(words.filter { $0 == "1,234,567,890.123456789012" }.count == 4)
    }

    /// One line that is longer than a page is continued, not cut.
    @Test func aLineLongerThanAPageIsContinued() async throws {
        var line = SampleInvoice.fee
        line.description = (1...900).map { "word\($0)" }.joined(separator: " ")
        let pages = try await Self.pages(SampleInvoice.document(lines: [line]))
        let words = Set(pages.joined(separator: " ").split(separator: " ").map(String.init))
        #expect(pages.count > 1)
        #expect((1...900).allSatisfy { words.contains("word\($0)") })
    }

    @Test func theSameInvoiceGivesTheSameBytes() throws {
        let first = try InvoicePDF.render(SampleInvoice.full)
        _ = try InvoicePDF.render(SampleInvoice.awkward)
        #expect(try InvoicePDF.render(SampleInvoice.full) == first)
        #expect(String(decoding: first, as: UTF8.self).contains("(20261202000000Z)"))
        var other = SampleInvoice.full
        other.totals[0].amount = "1.00"
        #expect(try InvoicePDF.render(other) != first)
    }

    /// Many at a time give what each gives alone: nothing is shared between them that is not meant for several threads.
    @Test func manyCanBeMadeAtOnce() async throws {
        let expected = try InvoicePDF.render(SampleInvoice.awkward)
        let results = await withTaskGroup(of: [UInt8]?.self) { group in
            for _ in 0..<24 { group.addTask { try? InvoicePDF.render(SampleInvoice.awkward) } }
            return await group.reduce(into: [[UInt8]?]()) { $0.append($1) }
        }
        #expect(results.allSatisfy { $0 == expected })
        #expect(results.count == 24)
    }
}
