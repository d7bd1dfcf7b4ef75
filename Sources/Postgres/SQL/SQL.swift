/// A statement: its text and its bound parameters.
///
/// It is written as a literal, and interpolation can only bind: `"... WHERE key = \(key)"` becomes `WHERE key = $1` and
/// a parameter. Interpolating another `SQL` inserts that fragment, its placeholders renumbered. The literal type is
/// `StaticString`, so text computed at run time can't become a statement. A value can't be interpolated inside quotes:
/// the placeholder would be text.
@usableFromInline package struct SQL: ExpressibleByStringInterpolation, Sendable {
    /// The text as UTF-8, placeholders rendered.
    private(set) var utf8: [UInt8] = []

    @usableFromInline private(set) var parameters = SQLParameters()

    @usableFromInline package init(stringLiteral value: StaticString) {
        appendText(value)
    }

    @usableFromInline package init(stringInterpolation: StringInterpolation) {
        self = stringInterpolation.statement
    }

    /// Text from a file or rendered by the driver itself, never from a caller's value.
    init(trusted text: String) {
        utf8 = Array(text.utf8)
    }

    /// The text with `$1`, `$2`, ... where the parameters go.
    package var text: String { String(decoding: utf8, as: UTF8.self) }

    /// The fragments one after the other with `separator` between them; empty when there are none.
    package static func joined(_ fragments: [SQL], separator: SQL) -> SQL {
        var joined = SQL(trusted: "")
        for (index, fragment) in fragments.enumerated() {
            if index > 0 {
                joined.appendFragment(separator)
            }
            joined.appendFragment(fragment)
        }
        return joined
    }

    @usableFromInline package struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var statement = SQL(trusted: "")

        @usableFromInline package init(literalCapacity: Int, interpolationCount: Int) {
            statement.utf8.reserveCapacity(literalCapacity + 4 * interpolationCount)
        }

        @usableFromInline package mutating func appendLiteral(_ literal: StaticString) {
            statement.appendText(literal)
        }

        /// Binds a value.
        @inlinable
        package mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value) {
            bind(value)
        }

        /// Binds a value or `NULL`. An overload of its own, or the compiler warns of a description of an optional.
        @inlinable
        package mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value?) {
            bind(value)
        }

        /// Inserts a fragment with its parameters.
        @usableFromInline package mutating func appendInterpolation(_ fragment: SQL) {
            statement.appendFragment(fragment)
        }

        @inlinable
        mutating func bind<Value: PostgresEncodable>(_ value: Value) {
            let range = appendPlaceholder()
            withParameters { $0.append(value, textRange: range) }
        }

        @usableFromInline
        mutating func appendPlaceholder() -> Range<Int> {
            statement.appendPlaceholder()
        }

        @inlinable
        mutating func withParameters(_ body: (inout SQLParameters) -> Void) {
            body(&parameters)
        }

        @usableFromInline var parameters: SQLParameters {
            get { statement.parameters }
            _modify { yield &statement.parameters }
        }
    }
}

extension SQL {
    fileprivate mutating func appendText(_ literal: StaticString) {
        if literal.hasPointerRepresentation {
            literal.withUTF8Buffer { appendText($0[...]) }
        } else {
            appendText(Array(String(literal.unicodeScalar).utf8)[...])
        }
    }

    /// A placeholder and a following digit or letter would read as one token, so a space goes between them.
    private mutating func appendText<Bytes: Collection>(_ bytes: Bytes) where Bytes.Element == UInt8 {
        if let first = bytes.first, let last = parameters.entries.last, last.textRange.upperBound == utf8.count,
            Self.continuesToken(first)
        {
            utf8.append(UInt8(ascii: " "))
        }
        utf8.append(contentsOf: bytes)
    }

    fileprivate mutating func appendPlaceholder() -> Range<Int> {
        if let last = utf8.last, Self.continuesToken(last) {
            utf8.append(UInt8(ascii: " "))
        }
        let start = utf8.count
        utf8.append(UInt8(ascii: "$"))
        utf8.append(contentsOf: String(parameters.entries.count + 1).utf8)
        return start..<utf8.count
    }

    fileprivate mutating func appendFragment(_ fragment: SQL) {
        if parameters.entries.isEmpty, fragment.parameters.entries.first?.textRange.lowerBound != 0 {
            // Its placeholders are numbered already.
            parameters = fragment.parameters.moved(by: utf8.count)
            utf8.append(contentsOf: fragment.utf8)
            return
        }
        var copied = 0
        for entry in fragment.parameters.entries {
            appendText(fragment.utf8[copied..<entry.textRange.lowerBound])
            let range = appendPlaceholder()
            parameters.append(entry, of: fragment.parameters, textRange: range)
            copied = entry.textRange.upperBound
        }
        appendText(fragment.utf8[copied...])
    }

    private static func continuesToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: "$"), 0x80...0xFF:
            true
        default:
            false
        }
    }
}
