import BillingCore
import Foundation
import TestSupport
import Testing
import Web

@testable import Invoicing

@Suite struct InvoiceCSVTests {
    /// Reads the file with Python's csv module, which shares nothing with the writer.
    private static func parsed(_ document: PrintableInvoice) async throws -> [[String]] {
        let file = try InvoiceCSV.file(document)
        return try await withTemporaryDirectory { directory in
            let path = directory.appendingPathComponent("invoice.csv")
            try Data(file).write(to: path)
            let script = """
                import csv, json, sys
                with open(sys.argv[1], encoding="utf-8", newline="") as file:
                    print(json.dumps(list(csv.reader(file, strict=True))))
                """
            let output = try await TestTools.run("python3", ["-c", script, path.path], in: directory)
            return try JSONDecoder().decode([[String]].self, from: Data(output.utf8))
        }
    }

    private static func column(_ name: String, of rows: [[String]]) throws -> [String] {
        let index = try #require(rows.first?.firstIndex(of: name))
        return rows.dropFirst().map { $0[index] }
    }

    @Test func anotherParserReadsEveryLineBack() async throws {
        let rows = try await Self.parsed(SampleInvoice.full)
        #expect(rows.first == InvoiceCSV.columns)
        #expect(rows.allSatisfy { $0.count == InvoiceCSV.columns.count })
        #expect(try Self.column("tenant_name", of: rows) == Array(repeating: SampleInvoice.full.tenant.name, count: 3))
        #expect(try Self.column("line", of: rows) == ["1", "2", "3"])
        #expect(try Self.column("quantity", of: rows) == ["", "617284331000", "50000"])
        #expect(try Self.column("cell", of: rows) == ["", "", "model=gpt-4o token_class=output"])
        #expect(try Self.column("amount_unrounded", of: rows)[1] == "1234567.162000000000")
        #expect(try Self.column("discount", of: rows) == ["-2.00", "0.00", "0.00"])
        #expect(try Self.column("tax_rates", of: rows)[0] == "VAT 19 %")
        #expect(try Self.column("due_at", of: rows)[0] == "2027-01-01T00:00:00.000000Z")
        #expect(try Self.column("amount_due", of: rows) == Array(repeating: "1469146.94", count: 3))
    }

    @Test func theColumnTotalAddsUpToTheInvoice() async throws {
        let totals = try Self.column("total", of: try await Self.parsed(SampleInvoice.full))
        let sum = try totals.reduce(FixedDecimal.zero) { try $0.adding(FixedDecimal(parsing: $1)) }
        #expect(sum.text(minimumFractionalDigits: 2) == "1469156.94")
    }

    @Test func theColumnTotalOfACreditAddsUpToWhatIsCarriedForward() async throws {
        var document = SampleInvoice.document(lines: [SampleInvoice.fee])
        document.lines[0].total = "-21.42"
        document.payment.total = "0.00"
        document.payment.carriedForward = "21.42"
        let rows = try await Self.parsed(document)
        #expect(try Self.column("total", of: rows) == ["-21.42"])
        #expect(try Self.column("invoice_total", of: rows) == ["0.00"])
        #expect(try Self.column("carried_forward", of: rows) == ["21.42"])
    }

    @Test func anInvoiceWithoutLinesHasARecord() async throws {
        var document = SampleInvoice.document(lines: [])
        document.payment = .init(total: "0.00", paidByCredit: "0.00", amountDue: "0.00", carriedForward: "0.00")
        let rows = try await Self.parsed(document)
        #expect(rows.count == 2 && rows[1].count == InvoiceCSV.columns.count)
        #expect(try Self.column("invoice_number", of: rows) == ["INV-000042"])
        for name in ["line", "kind", "quantity", "unit", "tax_rates"] {
            #expect(try Self.column(name, of: rows) == [""], "\(name)")
        }
        for name in ["amount_unrounded", "amount", "discount", "credit", "tax", "total", "invoice_total"] {
            #expect(try Self.column(name, of: rows) == ["0.00"], "\(name)")
        }
    }

    /// A name that a spreadsheet would run gets an apostrophe; everything else comes back as it was, and our own
    /// negative numbers stay numbers.
    @Test func namesCantBecomeFormulas() async throws {
        var lines = SampleInvoice.awkward.lines
        for (index, start) in ["+1", "-1", "@SUM(A1)", "\tx", "\rx", "＝1+1"].enumerated() {
            lines[index].description = start
        }
        let rows = try await Self.parsed(SampleInvoice.document(lines: lines))
        let expected = lines.map { line in
            "=+-@\t\r＝".contains(line.description.first ?? " ") ? "'" + line.description : line.description
        }
        #expect(try Self.column("description", of: rows) == expected)
        #expect(expected.filter { $0.hasPrefix("'") }.count == 7)
        #expect(try Self.column("discount", of: rows).contains("-2.00"))
    }

    @Test func whatIsTooLongForPagesIsThereAsCSV() throws {
        let document = SampleInvoice.document(lines: Array(repeating: SampleInvoice.fee, count: 5_001))
        let page = #expect(throws: Problem.self) { try document.page() }
        let pdf = #expect(throws: Problem.self) { try document.pdf() }
        for problem in [page, pdf] {
            #expect(problem?.code == "too_many_lines")
        }
        let records = try InvoiceCSV.file(document).filter { $0 == UInt8(ascii: "\n") }.count
        #expect(records == 5_002)
    }

    @Test func recordsEndAsRFC4180Says() throws {
        let text = String(decoding: try InvoiceCSV.file(SampleInvoice.full), as: UTF8.self)
        #expect(text.utf8.filter { $0 == UInt8(ascii: "\n") }.count == 4)
        #expect(text.hasSuffix("\r\n"))
    }
}
