import Foundation
import TestSupport
import Testing

@testable import Invoicing

@Suite struct InvoiceHTMLTests {
    private static func render(_ document: PrintableInvoice) throws -> String {
        let html = try InvoiceHTML.shared.get().render(document)
        try SampleInvoice.keep(Array(html.utf8), as: "invoice-\(document.lines.count).html")
        return html
    }

    /// The texts of the cells of the lines' table, row by row, as they were before they were escaped.
    private static func rows(_ html: String) -> [[String]] {
        html.matches(of: /<tr class="(?:line|detail)">([\s\S]*?)<\/tr>/).map { row in
            row.output.1.matches(of: /<td>([\s\S]*?)<\/td>/).map { unescaped(String($0.output.1)) }
        }
    }

    private static func unescaped(_ text: String) -> String {
        let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        return entities.reduce(text) { text, entity in
            text.replacingOccurrences(of: entity.0, with: entity.1, options: .literal)
        }
    }

    @Test func everyLineIsARowWithItsTiersAllocationsAndTaxesBelow() throws {
        #expect(
            Self.rows(try Self.render(SampleInvoice.full)) == [
                ["Platform fee (1 Dec - 1 Jan)", "", "", "", "20.00"],
                ["Discount LAUNCH 10 %", "", "", "", "-2.00"],
                ["VAT 19 %", "", "", "", "3.42"],
                ["Line total", "", "", "", "21.42"],
                ["Chat tokens (1 Nov - 1 Dec)", "617,284,331,000 token", "", "", "1,234,567.16"],
                ["up to 1,000,000", "1,000,000", "0", "0", ""],
                ["above 1,000,000, with 0.5 flat", "617,283,331,000", "0.000002", "1,234,567.162", ""],
                ["VAT 19 %", "", "", "", "234,567.76"],
                ["Line total", "", "", "", "1,469,134.92"],
                ["All tokens (1 Nov - 1 Dec)", "50,000 token", "0.00001", "", "0.50"],
                ["model gpt-4o, token_class output", "", "", "", ""],
                ["VAT 19 %", "", "", "", "0.10"],
                ["Line total", "", "", "", "0.60"],
            ]
        )
    }

    /// Quantity times unit price is the amount, or the step between them is shown.
    @Test func aStepOverAnotherQuantityHasARowOfItsOwn() throws {
        var line = SampleInvoice.matrixCell
        line.cell = []
        line.taxes = []
        line.quantity = "8"
        line.amount = "1.00"
        line.total = "1.00"
        line.tiers = [.init(label: "Packages begun", quantity: "4", unitAmount: "0.25", amount: "1")]
        #expect(
            Self.rows(try Self.render(SampleInvoice.document(lines: [line]))) == [
                ["All tokens (1 Nov - 1 Dec)", "8 token", "", "", "1.00"], ["Packages begun", "4", "0.25", "1", ""],
            ]
        )
    }

    @Test func headFactsTotalsAndNotesAreShown() throws {
        let html = try Self.render(SampleInvoice.full)
        for text in [
            "<h1>Invoice</h1>", "<title>Invoice INV-000042 - Turnpike Resale Ltd</title>",
            "<strong>Åcme Große Söhne GmbH &amp; Co. &lt;KG&gt;</strong>", "<span>VAT IE1234567T</span>",
            "<dt>Due date</dt><dd>1 January 2027</dd>",
            #"<tr class="emphasised"><th scope="row">Amount due</th><td>1,469,146.94 USD</td></tr>"#,
            #"<tr><th scope="row">Discounts</th><td>-2.00 USD</td></tr>"#,
            "<p>Reverse charge: the recipient owes the tax.</p>",
        ] {
            #expect(html.contains(text))
        }
    }

    /// Neither tags nor template commands in a name do anything, whatever combining marks follow them.
    @Test func everyTextIsEscaped() throws {
        let html = try Self.render(SampleInvoice.awkward)
        let markup = html.unicodeScalars.split(separator: "<").dropFirst().map { tag in
            String(String.UnicodeScalarView(tag.prefix { $0 != ">" && $0 != " " }))
        }
        let known: Set = [
            "!doctype", "html", "head", "meta", "title", "style", "body", "main", "header", "div", "strong", "span",
            "h1", "p", "section", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td",
        ]
        let foreign = markup.filter { !known.contains($0.replacing("/", with: "")) }
        #expect(foreign == [])
        #expect(markup.count > 100)
        #expect(html.contains("{{title}} {{{style}}}"))
        #expect(Self.rows(html).map(\.[0]).filter(SampleInvoice.awkwardNames.contains) == SampleInvoice.awkwardNames)
    }

    @Test func thePageMayLoadNothingButTheStyleItCarries() throws {
        let page = try InvoiceHTML.shared.get()
        let html = page.render(SampleInvoice.full)
        #expect(page.contentSecurityPolicy.hasPrefix("default-src 'none'; style-src 'sha256-"))
        #expect(!page.contentSecurityPolicy.contains("unsafe"))
        #expect(html.firstMatch(of: /\b(?:src|href|style|on[a-z]+)=/) == nil)
        #expect(html.contains("@media print"))
        #expect(html.contains("table-header-group"))
    }
}
