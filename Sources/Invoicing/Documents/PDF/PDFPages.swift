/// A document's pages as they will be drawn. It is composed before anything is drawn, because each page says how many
/// there are.
struct PDFPages: Sendable, Hashable {
    enum Mark: Sendable, Hashable {
        case text(String, PDFTextStyle, x: Double, y: Double, width: Double, PDFAlignment)
        case rule(x: Double, y: Double, width: Double, weight: Double, gray: Double)
    }

    static let left = 46.0
    static let right = PDFCanvas.pageWidth - 46
    static let top = 56.0
    /// Where the text ends; the page's number stands below.
    static let bottom = PDFCanvas.pageHeight - 66
    static var width: Double { right - left }
    static var height: Double { bottom - top }

    private(set) var pages: [[Mark]] = [[]]
    /// Where the next line begins, from the top of the page.
    var y = Self.top

    /// How much a page can hold below the point where it begins, which is lower where a table's head is repeated.
    var remaining: Double { Self.bottom - y }

    mutating func add(_ mark: Mark) {
        pages[pages.count - 1].append(mark)
    }

    /// A line of text at the current place; `y` is left where it was.
    /// - Parameter reference: the style of the line that it stands in, where that is another.
    mutating func addText(
        _ text: String,
        _ style: PDFTextStyle,
        onBaselineOf reference: PDFTextStyle? = nil,
        x: Double,
        width: Double,
        alignment: PDFAlignment = .left
    ) {
        guard !text.isEmpty else { return }
        add(.text(text, style, x: x, y: y + (reference ?? style).size, width: width, alignment))
    }

    mutating func addRule(x: Double = Self.left, width: Double = Self.width, weight: Double, gray: Double = 0) {
        add(.rule(x: x, y: y, width: width, weight: weight, gray: gray))
    }

    mutating func breakPage() {
        pages.append([])
        y = Self.top
    }

    func draw(on canvas: PDFCanvas, footer: (_ page: Int, _ count: Int) -> [Mark]) {
        for (index, page) in pages.enumerated() {
            for mark in page + footer(index + 1, pages.count) {
                switch mark {
                case .text(let text, let style, let x, let y, let width, let alignment):
                    canvas.draw(text, style: style, x: x, y: y, width: width, alignment: alignment)
                case .rule(let x, let y, let width, let weight, let gray):
                    canvas.drawRule(x: x, y: y, width: width, weight: weight, gray: gray)
                }
            }
            canvas.endPage()
        }
    }
}
