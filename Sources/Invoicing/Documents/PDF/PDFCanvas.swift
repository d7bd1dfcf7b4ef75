import CPangoCairo

/// Why a PDF could not be made.
package enum PDFError: Error, Sendable, Hashable, CustomStringConvertible {
    /// cairo's own words.
    case cairo(String)
    /// Not even an empty line could be set: no font is installed.
    case noFont

    package var description: String {
        switch self {
        case .cairo(let text): "cairo could not make the PDF: \(text)"
        case .noFont: "no font is installed; install one, such as Debian's fonts-dejavu-core"
        }
    }
}

/// Draws pages of A4 into memory. It is used by one task at a time and lasts for one document.
///
/// With the same libraries and fonts the same calls give the same bytes: the moment in the file is the one given, and
/// nothing else in it depends on when or where it was made.
final class PDFCanvas {
    /// What the file says about itself.
    struct Metadata {
        let title: String
        let author: String
        /// ISO 8601.
        let createdAt: String
    }

    /// In points, 1/72 inch.
    static let pageWidth = 595.28
    static let pageHeight = 841.89

    private let sink = Sink()
    private let surface: OpaquePointer
    private let context: OpaquePointer
    private let layout: OpaquePointer

    init(_ metadata: Metadata) throws(PDFError) {
        let write: cairo_write_func_t = { closure, bytes, count in
            guard let closure, let bytes else { return CAIRO_STATUS_WRITE_ERROR }
            let sink = Unmanaged<Sink>.fromOpaque(closure).takeUnretainedValue()
            sink.bytes.append(contentsOf: UnsafeBufferPointer(start: bytes, count: Int(count)))
            return CAIRO_STATUS_SUCCESS
        }
        let closure = Unmanaged.passUnretained(sink).toOpaque()
        guard
            let surface = cairo_pdf_surface_create_for_stream(write, closure, Self.pageWidth, Self.pageHeight),
            let context = cairo_create(surface), let layout = pango_cairo_create_layout(context)
        else { throw .cairo("out of memory") }
        self.surface = surface
        self.context = context
        self.layout = layout
        cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_TITLE, metadata.title)
        cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_AUTHOR, metadata.author)
        cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATOR, "Turnpike")
        cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE, metadata.createdAt)
        cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_MOD_DATE, metadata.createdAt)
        // On paper glyphs stand where the font says, not where a screen has pixels.
        pango_context_set_round_glyph_positions(pango_layout_get_context(layout), 0)
        pango_layout_set_wrap(layout, PANGO_WRAP_WORD_CHAR)
    }

    deinit {
        g_object_unref(UnsafeMutableRawPointer(layout))
        cairo_destroy(context)
        // An unfinished surface writes its end when it goes, so the sink must still be there: it is a property.
        cairo_surface_finish(surface)
        cairo_surface_destroy(surface)
    }

    /// The lines that a text takes in a column, broken between words, or inside a word that is wider than the column.
    func lines(of text: String, style: PDFTextStyle, width: Double) -> [String] {
        guard !text.isEmpty else { return [] }
        set(text, style: style, width: width)
        let utf8 = Array(text.utf8)
        return (0..<pango_layout_get_line_count(layout)).compactMap { index in
            guard let line = pango_layout_get_line_readonly(layout, index) else { return nil }
            let start = Int(line.pointee.start_index)
            let bytes = utf8[start..<start + Int(line.pointee.length)]
            return String(decoding: bytes, as: UTF8.self).trimmingSuffix { $0 == " " }
        }
    }

    /// Draws one line of text, its baseline at `y`. It is not broken again.
    func draw(_ text: String, style: PDFTextStyle, x: Double, y: Double, width: Double, alignment: PDFAlignment) {
        set(text, style: style, width: nil)
        var extents = PangoRectangle()
        pango_layout_get_extents(layout, nil, &extents)
        let free = width - Double(extents.width) / Double(PANGO_SCALE)
        let baseline = Double(pango_layout_get_baseline(layout)) / Double(PANGO_SCALE)
        cairo_set_source_rgb(context, style.gray, style.gray, style.gray)
        cairo_move_to(context, x + (alignment == .right ? free : 0), y - baseline)
        pango_cairo_show_layout(context, layout)
    }

    func drawRule(x: Double, y: Double, width: Double, weight: Double, gray: Double) {
        cairo_set_source_rgb(context, gray, gray, gray)
        cairo_set_line_width(context, weight)
        cairo_move_to(context, x, y)
        cairo_line_to(context, x + width, y)
        cairo_stroke(context)
    }

    func endPage() {
        cairo_show_page(context)
    }

    /// Ends the file and answers it.
    func finish() throws(PDFError) -> [UInt8] {
        cairo_surface_finish(surface)
        for status in [cairo_status(context), cairo_surface_status(surface)] where status != CAIRO_STATUS_SUCCESS {
            throw .cairo(String(cString: cairo_status_to_string(status)))
        }
        return sink.bytes
    }

    /// Whether any font is there to set text with; without one pango draws nothing and says so on standard error only.
    var hasFont: Bool {
        guard let description = pango_font_description_from_string(PDFTextStyle.family) else { return false }
        defer { pango_font_description_free(description) }
        guard let font = pango_context_load_font(pango_layout_get_context(layout), description) else { return false }
        g_object_unref(UnsafeMutableRawPointer(font))
        return true
    }

    private func set(_ text: String, style: PDFTextStyle, width: Double?) {
        if let description = pango_font_description_from_string(PDFTextStyle.family) {
            pango_font_description_set_absolute_size(description, style.size * Double(PANGO_SCALE))
            pango_font_description_set_weight(description, style.isBold ? PANGO_WEIGHT_BOLD : PANGO_WEIGHT_NORMAL)
            pango_layout_set_font_description(layout, description)
            pango_font_description_free(description)
        }
        pango_layout_set_width(layout, width.map { Int32($0 * Double(PANGO_SCALE)) } ?? -1)
        pango_layout_set_text(layout, text, Int32(clamping: text.utf8.count))
    }

    private final class Sink {
        var bytes: [UInt8] = []
    }
}

enum PDFAlignment: Sendable, Hashable {
    case left, right
}

struct PDFTextStyle: Sendable, Hashable {
    /// The first family that has a glyph sets it; fontconfig finds others for what none of them has.
    static let family = "DejaVu Sans, Droid Sans Fallback"

    /// In points.
    var size: Double
    var isBold = false
    /// 0 is black.
    var gray = 0.0

    /// From one baseline to the next.
    var lineHeight: Double { size * 1.4 }
}

extension String {
    fileprivate func trimmingSuffix(while condition: (Character) -> Bool) -> String {
        var text = self[...]
        while let last = text.last, condition(last) { text.removeLast() }
        return String(text)
    }
}
