import HTTPTypes
import Web

extension PrintableInvoice {
    /// The answer that shows it as a page.
    func page() throws -> Answer {
        let html = try InvoiceHTML.shared.get()
        var answer = Answer.text(html.render(self), contentType: "text/html; charset=utf-8")
        answer.headers[.contentSecurityPolicy] = html.contentSecurityPolicy
        answer.headers[.contentDisposition] = disposition("inline", "html")
        answer.headers[.referrerPolicy] = "no-referrer"
        return answer
    }

    /// The answer that shows it as a PDF.
    func pdf() throws -> Answer {
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
