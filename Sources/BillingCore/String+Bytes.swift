extension String {
    /// Whether both are the same bytes in UTF-8, as a database compares texts; `==` takes texts for the same that look
    /// the same.
    @inlinable
    package func hasSameBytes(as other: String) -> Bool {
        var (left, right) = (self, other)
        return left.withUTF8 { left in
            right.withUTF8 { right in
                left.count == right.count && UnsafeRawBufferPointer(left).elementsEqual(UnsafeRawBufferPointer(right))
            }
        }
    }
}

/// A text that is the same as another where their bytes in UTF-8 are, as for a database: as a key of what the database
/// tells apart by a text.
@usableFromInline
package struct ExactText: Sendable, Hashable, ExpressibleByStringInterpolation {
    @usableFromInline package let text: String

    package init(_ text: String) {
        self.text = text
    }

    @usableFromInline
    package init(stringLiteral text: String) {
        self.init(text)
    }

    @inlinable
    package static func == (left: Self, right: Self) -> Bool { left.text.hasSameBytes(as: right.text) }

    @inlinable
    package func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
