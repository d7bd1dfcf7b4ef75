import CEmbedded
import Crypto
import Foundation
import Mustache
import Web

/// Renders an invoice as one page of HTML that needs nothing else: its style is inside, there is no script, and it
/// prints on A4 with the table's head repeated on each page. Every text is escaped.
package struct InvoiceHTML: Sendable {
    /// The one instance: the template is parsed once.
    package static let shared = Result { try InvoiceHTML() }

    private let template: MustacheTemplate
    private let style: String
    /// What a browser may load for the page: the style it carries, known by its hash, and nothing else.
    package let contentSecurityPolicy: String

    init() throws {
        MustacheContentTypes.register(EscapedMarkup(), named: EscapedMarkup.name)
        template = try MustacheTemplate(string: Self.text(of: embedded_invoice_template()))
        style = Self.text(of: embedded_invoice_style())
        let hash = Data(SHA256.hash(data: Array(style.utf8))).base64EncodedString()
        contentSecurityPolicy = """
            default-src 'none'; style-src 'sha256-\(hash)'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'
            """
    }

    package func render(_ document: PrintableInvoice) -> String {
        template.render(View(document, style: style))
    }

    private static func text(of file: embedded_file) -> String {
        String(decoding: UnsafeBufferPointer(start: file.bytes, count: file.count), as: UTF8.self)
    }
}

/// What the template names. Mustache reads it by reflection.
private struct View {
    let style: String
    let heading: String
    let title: String
    let number: String?
    let seller: PrintableInvoice.Party
    let tenant: PrintableInvoice.Party
    let facts: [PrintableInvoice.Fact]
    let columns: [String]
    let groups: [InvoiceTable.Group]
    let totals: [PrintableInvoice.Total]
    let hasNotes: Bool
    let notes: [String]

    init(_ document: PrintableInvoice, style: String) {
        self.style = style
        heading = document.heading
        title = document.title
        number = document.number
        seller = document.seller
        tenant = document.tenant
        facts = document.facts
        columns = InvoiceTable.columns
        groups = InvoiceTable(document).groups
        totals = document.totals.map { total in
            var shown = total
            shown.amount = "\(InvoiceText.grouped(total.amount)) \(document.currency)"
            return shown
        }
        notes = document.pageNotes
        hasNotes = !notes.isEmpty
    }
}

/// Escapes scalar by scalar, as Mustache's own type does not.
private struct EscapedMarkup: MustacheContentType {
    static let name = "INVOICE_HTML"

    func escapeText(_ text: String) -> String {
        text.replacingScalars { scalar in
            switch scalar {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            case "\"": "&quot;"
            case "'": "&#39;"
            default: nil
            }
        }
    }
}
