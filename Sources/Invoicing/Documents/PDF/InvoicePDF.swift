import Web

/// Renders an invoice as a PDF of A4 pages: a table that goes on over pages with its head repeated, page numbers, long
/// names broken into lines. The same document gives the same bytes with the same libraries and fonts.
package enum InvoicePDF {
    package static func render(_ document: PrintableInvoice) throws(PDFError) -> [UInt8] {
        let canvas = try PDFCanvas(
            PDFCanvas.Metadata(
                title: document.heading.onOneLine,
                author: document.seller.name.onOneLine,
                createdAt: InvoiceText.wholeSeconds(document.documentedAt)
            )
        )
        guard canvas.hasFont else { throw .noFont }
        var composer = InvoicePDFComposer(document, measuringOn: canvas)
        composer.compose()
        composer.pages.draw(on: canvas) { page, count in Self.footer(of: document, page: page, count: count) }
        return try canvas.finish()
    }

    private static func footer(of document: PrintableInvoice, page: Int, count: Int) -> [PDFPages.Mark] {
        let style = PDFTextStyle(size: 7.5, gray: 0.4)
        let y = PDFCanvas.pageHeight - 36
        // The number alone is short; a seller's name might meet the page number.
        return [
            .text(
                document.heading.onOneLine,
                style,
                x: PDFPages.left,
                y: y,
                width: PDFPages.width,
                .left
            ),
            .text("Page \(page) of \(count)", style, x: PDFPages.left, y: y, width: PDFPages.width, .right),
        ]
    }
}

/// Puts a document's parts on pages.
private struct InvoicePDFComposer {
    private static let normal = PDFTextStyle(size: 8.5)
    private static let bold = PDFTextStyle(size: 8.5, isBold: true)
    private static let detail = PDFTextStyle(size: 7.5, gray: 0.35)
    private static let label = PDFTextStyle(size: 8.5, gray: 0.4)
    private static let heading = PDFTextStyle(size: 19, isBold: true)
    private static let smallestSize = 1.5

    let document: PrintableInvoice
    let canvas: PDFCanvas
    var pages = PDFPages()

    init(_ document: PrintableInvoice, measuringOn canvas: PDFCanvas) {
        self.document = document
        self.canvas = canvas
    }

    mutating func compose() {
        addTitle()
        addParties()
        addTable()
        addTotals()
        addNotes()
    }

    private mutating func addTitle() {
        let start = pages.y
        addBlock([(document.seller.name, Self.bold)] + document.seller.lines.map { ($0, Self.normal) }, width: 240)
        let sellerEnd = pages.y
        pages.y = start
        addBlock(
            [(document.title, Self.heading)] + (document.number.map { [($0, Self.label)] } ?? []),
            x: PDFPages.left + 250,
            width: PDFPages.width - 250,
            alignment: .right
        )
        pages.y = max(pages.y, sellerEnd) + 30
    }

    private mutating func addParties() {
        let start = pages.y
        addBlock(
            [("Billed to", Self.label), (document.tenant.name, Self.bold)]
                + document.tenant.lines.map { ($0, Self.normal) },
            width: 240
        )
        let tenantEnd = pages.y
        pages.y = start
        let x = PDFPages.left + 265
        for fact in document.facts {
            let lines = canvas.lines(of: fact.value.onOneLine, style: Self.normal, width: 145)
            pages.addText(fact.label.onOneLine, Self.label, x: x, width: 85)
            for line in lines {
                pages.addText(line, Self.normal, x: x + 85, width: PDFPages.right - x - 85, alignment: .right)
                pages.y += Self.normal.lineHeight
            }
        }
        pages.y = max(pages.y, tenantEnd) + 26
    }

    private mutating func addBlock(
        _ texts: [(text: String, style: PDFTextStyle)],
        x: Double = PDFPages.left,
        width: Double,
        alignment: PDFAlignment = .left
    ) {
        for (text, style) in texts {
            for line in canvas.lines(of: text.onOneLine, style: style, width: width) {
                pages.addText(line, style, x: x, width: width, alignment: alignment)
                pages.y += style.lineHeight
            }
        }
    }

    private mutating func addTable() {
        addTableHead()
        for group in InvoiceTable(document).groups {
            add([lines(of: group.line, style: Self.normal)] + group.details.map { lines(of: $0, style: Self.detail) })
            pages.addRule(weight: 0.4, gray: 0.8)
        }
        pages.y += 10
    }

    private mutating func addTableHead() {
        for (column, title) in zip(Column.all, InvoiceTable.columns) {
            pages.addText(title, Self.bold, x: column.x, width: column.width, alignment: column.alignment)
        }
        pages.y += Self.bold.lineHeight + 3
        pages.addRule(weight: 1)
    }

    /// A row broken into lines of its cells.
    private struct BrokenRow {
        let style: PDFTextStyle
        let cells: [BrokenCell]
        let indent: Double

        var lineCount: Int { cells.map(\.lines.count).max() ?? 0 }
        var height: Double { Double(lineCount) * style.lineHeight }
    }

    private struct BrokenCell {
        /// The row's, in a smaller size where a number is too long for it.
        let style: PDFTextStyle
        let lines: [String]
    }

    private func lines(of row: InvoiceTable.Row, style: PDFTextStyle) -> BrokenRow {
        let indent = style == Self.detail ? 10.0 : 0
        let cells = zip(Column.all, row.cells).map { column, text in
            column.alignment == .left
                ? cell(of: text.onOneLine, style: style, width: column.width - indent)
                : cell(ofNumber: text.onOneLine, style: style, width: column.width)
        }
        return BrokenRow(style: style, cells: cells, indent: indent)
    }

    private func cell(of text: String, style: PDFTextStyle, width: Double) -> BrokenCell {
        BrokenCell(style: style, lines: canvas.lines(of: text, style: style, width: width))
    }

    /// A number, with its unit behind it where it has one. The first line has the whole number, because a part of one
    /// reads as another; the smallest size has room for the longest there is.
    private func cell(ofNumber text: String, style: PDFTextStyle, width: Double) -> BrokenCell {
        let length = text.prefix { $0 != " " }.utf8.count
        var cell = cell(of: text, style: style, width: width)
        while let first = cell.lines.first, first.utf8.count < length, cell.style.size > Self.smallestSize {
            var smaller = cell.style
            smaller.size -= 0.5
            cell = self.cell(of: text, style: smaller, width: width)
        }
        return cell
    }

    /// Keeps the rows of one invoice line on one page where they fit on one; longer ones go on over pages.
    private mutating func add(_ rows: [BrokenRow]) {
        let padding = 4.0
        let height = rows.reduce(2 * padding) { $0 + $1.height }
        let pageBody = PDFPages.height - Self.bold.lineHeight - 3
        if height > pages.remaining, height <= pageBody { continueOnNextPage() }
        pages.y += padding
        for row in rows {
            for index in 0..<row.lineCount {
                if row.style.lineHeight > pages.remaining { continueOnNextPage() }
                for (column, cell) in zip(Column.all, row.cells) where index < cell.lines.count {
                    let indent = column.alignment == .left ? row.indent : 0
                    pages.addText(
                        cell.lines[index],
                        cell.style,
                        onBaselineOf: row.style,
                        x: column.x + indent,
                        width: column.width - indent,
                        alignment: column.alignment
                    )
                }
                pages.y += row.style.lineHeight
            }
        }
        pages.y += padding
    }

    private mutating func continueOnNextPage() {
        pages.breakPage()
        addTableHead()
        pages.y += 2
    }

    /// A step of the sums with its label broken into lines.
    private struct BrokenTotal {
        static let labelWidth = 140.0

        let total: PrintableInvoice.Total
        let style: PDFTextStyle
        let label: [String]

        var ruleHeight: Double { total.isEmphasised ? 3 : 0 }
        var height: Double { ruleHeight + Double(max(label.count, 1)) * style.lineHeight + 2 }
    }

    /// Keeps the sums on one page where they fit on one; where they don't, each of them.
    private mutating func addTotals() {
        let totals = document.totals.map { total in
            let style = total.isEmphasised ? Self.bold : Self.normal
            let label = canvas.lines(of: total.label.onOneLine, style: style, width: BrokenTotal.labelWidth)
            return BrokenTotal(total: total, style: style, label: label)
        }
        let height = totals.reduce(0) { $0 + $1.height }
        if height > pages.remaining, height <= PDFPages.height { pages.breakPage() }
        for total in totals {
            if total.height > pages.remaining { pages.breakPage() }
            add(total)
        }
        pages.y += 22
    }

    private mutating func add(_ broken: BrokenTotal) {
        let (total, style) = (broken.total, broken.style)
        let x = PDFPages.left + 245
        let end = pages.y + broken.height
        if total.isEmphasised { pages.addRule(x: x, width: PDFPages.right - x, weight: 0.6) }
        pages.y += broken.ruleHeight
        let amount = "\(InvoiceText.grouped(total.amount)) \(document.currency)"
        pages.addText(amount, style, x: x, width: PDFPages.right - x, alignment: .right)
        for line in broken.label {
            pages.addText(line, style, x: x, width: BrokenTotal.labelWidth)
            pages.y += style.lineHeight
        }
        pages.y = end
    }

    private mutating func addNotes() {
        for note in document.pageNotes {
            for paragraph in note.split(separator: "\n", omittingEmptySubsequences: false) {
                for line in canvas.lines(of: String(paragraph).onOneLine, style: Self.detail, width: PDFPages.width) {
                    if Self.detail.lineHeight > pages.remaining { pages.breakPage() }
                    pages.addText(line, Self.detail, x: PDFPages.left, width: PDFPages.width)
                    pages.y += Self.detail.lineHeight
                }
            }
            pages.y += 3
        }
    }
}

/// Where the table's columns stand.
private struct Column {
    let x: Double
    let width: Double
    let alignment: PDFAlignment

    static let all: [Column] = {
        let gap = 8.0
        let widths = [188.0, 104, 56, 64]
        var x = PDFPages.left
        var columns: [Column] = []
        for (index, width) in (widths + [PDFPages.width - widths.reduce(4 * gap, +)]).enumerated() {
            columns.append(Column(x: x, width: width, alignment: index == 0 ? .left : .right))
            x += width + gap
        }
        return columns
    }()
}
