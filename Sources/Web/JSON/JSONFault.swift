/// Why a text is not acceptable JSON, and where.
@usableFromInline package struct JSONFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// The byte offset from the start of the text.
    @usableFromInline package let offset: Int
    /// The RFC 6901 pointer of the value that bears the fault; empty for the whole document.
    @usableFromInline package let pointer: String
    @usableFromInline package let reason: Reason

    package init(offset: Int, reason: Reason, pointer: String = "") {
        self.offset = offset
        self.pointer = pointer
        self.reason = reason
    }

    @usableFromInline package enum Reason: Hashable, Sendable {
        case unexpectedEnd
        case unexpectedCharacter
        case trailingContent
        case invalidUTF8
        case controlCharacter
        case invalidEscape
        case loneSurrogate
        case nulCharacter
        case invalidNumber
        case numberTooLong
        case exponentTooLarge
        case tooDeep
        case tooLarge
        case duplicateKey
    }

    /// The same fault with its pointer, found by reading the text again up to the offset.
    package func located(in bytes: UnsafeRawBufferPointer) -> JSONFault {
        JSONFault(offset: offset, reason: reason, pointer: JSONPointer.locating(offset, in: bytes))
    }

    @usableFromInline package var description: String {
        pointer.isEmpty ? "\(detail) at byte \(offset)" : "\(detail) at byte \(offset), in \(pointer)"
    }

    /// The sentence for a person, without the place.
    package var detail: String {
        switch reason {
        case .unexpectedEnd: "the text ends before the JSON value is complete"
        case .unexpectedCharacter: "a character that JSON does not allow here"
        case .trailingContent: "more text follows the end of the JSON value"
        case .invalidUTF8: "a byte sequence that is not UTF-8"
        case .controlCharacter: "a control character in a string that is not escaped"
        case .invalidEscape: "an escape sequence that JSON does not have"
        case .loneSurrogate: "half of a UTF-16 surrogate pair (\\uD800 to \\uDFFF) without its other half"
        case .nulCharacter: "the character \\u0000, which cannot be stored"
        case .invalidNumber: "a number that is not written as JSON requires"
        case .numberTooLong: "a number of more than \(JSONLimits.numberCharacters) characters"
        case .exponentTooLarge: "a number whose exponent is beyond \(JSONLimits.exponent)"
        case .tooDeep: "values nested more than \(JSONLimits.depth) levels deep"
        case .tooLarge: "a text larger than is accepted"
        case .duplicateKey: "the same name twice in one object"
        }
    }
}

/// What is accepted beyond the grammar of RFC 8259; all of it can be stored by PostgreSQL as `jsonb`.
@usableFromInline package enum JSONLimits {
    @inlinable package static var depth: Int { 64 }
    @inlinable package static var numberCharacters: Int { 400 }
    /// PostgreSQL writes the numbers of `jsonb` without exponents, so an accepted one may come back longer.
    @inlinable package static var storedNumberCharacters: Int { 2 + numberCharacters + exponent }
    @inlinable package static var exponent: Int { 400 }
    @inlinable package static var bytes: Int { 8 * 1024 * 1024 }
}
