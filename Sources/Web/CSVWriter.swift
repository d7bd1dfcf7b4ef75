/// Writes comma-separated values as RFC 4180 has them: CRLF after each record, quotes doubled inside quotes.
///
/// Texts are always quoted, and one that a spreadsheet would take for a formula (it begins with `=`, `+`, `-`, `@`, a
/// tab or a line break, or the full-width form of one) gets an apostrophe in front, which spreadsheets read as "this is
/// text". Numbers are written by us, never by a customer, and stay as they are.
package struct CSVWriter: Sendable {
    package enum Field: Sendable, Hashable {
        case text(String)
        case number(String)
        case empty

        /// A text, or nothing.
        package static func optional(_ text: String?) -> Field {
            text.map(Field.text) ?? .empty
        }
    }

    package private(set) var bytes: [UInt8] = []

    package init() {}

    package mutating func append(_ record: [Field]) {
        for (index, field) in record.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            append(field)
        }
        bytes.append(contentsOf: "\r\n".utf8)
    }

    /// What was written since the last call.
    package mutating func takeBytes() -> [UInt8] {
        defer { bytes.removeAll(keepingCapacity: true) }
        return bytes
    }

    private mutating func append(_ field: Field) {
        switch field {
        case .empty:
            break
        case .number(let text):
            bytes.append(contentsOf: text.utf8)
        case .text(let text):
            bytes.append(UInt8(ascii: "\""))
            if Self.readsAsFormula(text) { bytes.append(UInt8(ascii: "'")) }
            for byte in text.utf8 {
                if byte == UInt8(ascii: "\"") { bytes.append(byte) }
                bytes.append(byte)
            }
            bytes.append(UInt8(ascii: "\""))
        }
    }

    /// OWASP, "CSV Injection".
    private static func readsAsFormula(_ text: String) -> Bool {
        switch text.unicodeScalars.first {
        case "=", "+", "-", "@", "\t", "\r", "\n", "\u{FF1D}", "\u{FF0B}", "\u{FF0D}", "\u{FF20}": true
        default: false
        }
    }
}
