import HTTPTypes
import Web

extension PrintableInvoice {
    /// Setting them takes a thread that everybody shares for seconds; nobody reads more.
    private static let mostLinesOnPages = 5_000

    /// The answer that shows it as a page.
    /// - Throws: the problem `too_many_lines`.
    func page() throws -> Answer {
        try requireFewLines()
        let html = try InvoiceHTML.shared.get()
        var answer = Answer.text(html.render(self), contentType: "text/html; charset=utf-8")
        answer.headers[.contentSecurityPolicy] = html.contentSecurityPolicy
        answer.headers[.contentDisposition] = disposition("inline", "html")
        answer.headers[.referrerPolicy] = "no-referrer"
        return answer
    }

    /// The answer that shows it as a PDF.
    /// - Throws: the problems `too_many_lines` and `pdf_unavailable`.
    func pdf() throws -> Answer {
        try requireFewLines()
        do {
            var answer = Answer(contentType: "application/pdf", bytes: try InvoicePDF.render(self))
            answer.headers[.contentDisposition] = disposition("inline", "pdf")
            return answer
        } catch PDFError.noFont {
            throw Problem(
                .serviceUnavailable,
                code: "pdf_unavailable",
                detail: "The service has no font to write a PDF with. HTML works.",
                underlying: PDFError.noFont
            )
        }
    }

    /// The answer that is its lines as a table.
    func csv() throws -> Answer {
        var answer = Answer(contentType: ExportFormat.csv.contentType, bytes: try InvoiceCSV.file(self))
        answer.headers[.contentDisposition] = disposition("attachment", "csv")
        return answer
    }

    private func requireFewLines() throws(Problem) {
        guard lines.count > Self.mostLinesOnPages else { return }
        throw Problem(
            .unprocessableContent,
            code: "too_many_lines",
            detail: "The document has \(lines.count) lines, and pages are made of \(Self.mostLinesOnPages) at most. "
                + "An invoice's CSV and the export of invoices have all of them, and so has the JSON of a credit note."
        )
    }

    /// The number makes the name of the file, the id where there is none; both are made of harmless characters.
    private func disposition(_ kind: String, _ ending: String) -> String {
        let name = (number ?? id ?? "invoice").filter { character in
            character.isASCII && (character.isLetter || character.isNumber || "-_.".contains(character))
        }
        return #"\#(kind); filename="\#(name).\#(ending)""#
    }
}

extension HTTPField.Name {
    fileprivate static let referrerPolicy = Self(constant: "Referrer-Policy")
}
