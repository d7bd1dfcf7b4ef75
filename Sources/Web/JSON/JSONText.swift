/// A scanned string: where its content lies between the quotes, in eight bytes, so that keys and texts stay in
/// registers.
@usableFromInline package struct JSONText: Sendable {
    @usableFromInline let low: UInt32
    @usableFromInline let high: UInt32

    @inlinable package var start: Int { Int(low) }
    @inlinable package var end: Int { Int(high & 0x7FFF_FFFF) }
    /// Whether the content has escapes; without any its bytes are the string.
    @inlinable package var hasEscapes: Bool { high > 0x7FFF_FFFF }
    @inlinable package var isEmpty: Bool { start == end }

    /// Both offsets are below 2^31, because `JSONScanner` reads no more bytes than that.
    @inlinable init(start: Int, end: Int, hasEscapes: Bool) {
        low = UInt32(truncatingIfNeeded: start)
        high = UInt32(truncatingIfNeeded: end) | (hasEscapes ? 0x8000_0000 : 0)
    }
}

extension JSONScanner {
    /// Scans the string whose opening quote is at `position`.
    @inlinable package mutating func scanString() throws(JSONFault) -> JSONText {
        let start = position + 1
        var index = start
        while index + 8 <= bytes.count {
            let special = Self.specialBytes(JSONHash.word(bytes, index))
            if special != 0 {
                index += special.trailingZeroBitCount >> 3
                break
            }
            index += 8
        }
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "\"") {
                position = index + 1
                return JSONText(start: start, end: index, hasEscapes: false)
            }
            guard byte >= 0x20, byte < 0x80, byte != UInt8(ascii: "\\") else { break }
            index += 1
        }
        return try scanOtherString(start: start, from: index)
    }

    /// A high bit in each byte that ends plain text: a quote, a backslash, a control character, or one above ASCII.
    /// Bytes above the lowest marked one may be marked wrongly.
    @inlinable static func specialBytes(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let quote = word ^ (ones &* 0x22)
        let backslash = word ^ (ones &* 0x5C)
        let found =
            ((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash) | ((word &- ones &* 0x20) & ~word) | word
        return found & (ones &* 0x80)
    }

    @usableFromInline mutating func scanOtherString(start: Int, from: Int) throws(JSONFault) -> JSONText {
        var hasEscapes = false
        position = from
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position += 1
                return JSONText(start: start, end: position - 1, hasEscapes: hasEscapes)
            case UInt8(ascii: "\\"):
                hasEscapes = true
                _ = try scanEscape()
            case 0x20..<0x80:
                position += 1
            case 0..<0x20:
                throw fault(.controlCharacter)
            default:
                try scanMultibyte()
            }
        }
        throw fault(.unexpectedEnd)
    }

    /// Passes the escape at `position` and returns the Unicode scalar that it stands for.
    mutating func scanEscape() throws(JSONFault) -> UInt32 {
        guard position + 1 < bytes.count else { throw fault(.unexpectedEnd, at: bytes.count) }
        if let character = Self.shortEscape(bytes[position + 1]) {
            position += 2
            return UInt32(character)
        }
        guard bytes[position + 1] == UInt8(ascii: "u") else { throw fault(.invalidEscape) }
        let unit = try hexadecimal(at: position + 2)
        if unit == 0 {
            throw fault(.nulCharacter)
        }
        guard unit & 0xF800 == 0xD800 else {
            position += 6
            return unit
        }
        guard unit < 0xDC00 else { throw fault(.loneSurrogate) }
        guard position + 7 < bytes.count else {
            throw position + 6 < bytes.count && bytes[position + 6] != UInt8(ascii: "\\")
                ? fault(.loneSurrogate) : fault(.unexpectedEnd, at: bytes.count)
        }
        guard bytes[position + 6] == UInt8(ascii: "\\"), bytes[position + 7] == UInt8(ascii: "u") else {
            throw fault(.loneSurrogate)
        }
        let low = try hexadecimal(at: position + 8)
        guard low & 0xFC00 == 0xDC00 else { throw fault(.loneSurrogate) }
        position += 12
        return 0x10000 + ((unit & 0x3FF) << 10 | low & 0x3FF)
    }

    static func shortEscape(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): byte
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "f"): 0x0C
        case UInt8(ascii: "n"): 0x0A
        case UInt8(ascii: "r"): 0x0D
        case UInt8(ascii: "t"): 0x09
        default: nil
        }
    }

    func hexadecimal(at offset: Int) throws(JSONFault) -> UInt32 {
        var value: UInt32 = 0
        for index in offset..<(offset + 4) {
            guard index < bytes.count else { throw fault(.unexpectedEnd, at: bytes.count) }
            switch bytes[index] {
            case let digit where digit >= UInt8(ascii: "0") && digit <= UInt8(ascii: "9"):
                value = value << 4 | UInt32(digit - UInt8(ascii: "0"))
            case let letter where letter | 0x20 >= UInt8(ascii: "a") && letter | 0x20 <= UInt8(ascii: "f"):
                value = value << 4 | UInt32((letter | 0x20) - UInt8(ascii: "a") + 10)
            default:
                throw fault(.invalidEscape)
            }
        }
        return value
    }

    /// Passes one well-formed UTF-8 sequence of two to four bytes (Unicode 15, table 3-7).
    mutating func scanMultibyte() throws(JSONFault) {
        let lead = bytes[position]
        let length: Int
        var allowed: ClosedRange<UInt8> = 0x80...0xBF
        switch lead {
        case 0xC2...0xDF: length = 2
        case 0xE0: (length, allowed) = (3, 0xA0...0xBF)
        case 0xED: (length, allowed) = (3, 0x80...0x9F)
        case 0xE1...0xEF: length = 3
        case 0xF0: (length, allowed) = (4, 0x90...0xBF)
        case 0xF1...0xF3: length = 4
        case 0xF4: (length, allowed) = (4, 0x80...0x8F)
        default: throw fault(.invalidUTF8)
        }
        for index in (position + 1)..<(position + length) {
            guard index < bytes.count else { throw fault(.unexpectedEnd, at: bytes.count) }
            guard allowed.contains(bytes[index]) else { throw fault(.invalidUTF8) }
            allowed = 0x80...0xBF
        }
        position += length
    }
}

// MARK: Content

extension JSONScanner {
    /// The bytes between the quotes, escapes and all.
    @inlinable @inline(__always) package func rawBytes(_ text: JSONText) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[text.start..<text.end])
    }

    @inlinable package func string(_ text: JSONText) -> String {
        text.hasEscapes ? decodedString(text) : String(decoding: rawBytes(text), as: UTF8.self)
    }

    /// Calls the body with the string's UTF-8, which is decoded into temporary memory only when it has escapes.
    @inlinable @inline(__always) package func withUTF8<Result>(
        _ text: JSONText,
        _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        text.hasEscapes ? decodedBytes(text).withUnsafeBytes(body) : body(rawBytes(text))
    }

    /// The number of UTF-8 bytes of the string.
    @inlinable package func byteCount(_ text: JSONText) -> Int {
        text.hasEscapes ? decodedBytes(text).count : text.end - text.start
    }

    @inlinable package func hash(of text: JSONText) -> UInt64 {
        guard text.hasEscapes else { return JSONHash.bytes(rawBytes(text)) }
        return withUTF8(text) { bytes in JSONHash.bytes(bytes) }
    }

    /// Whether the string is exactly this one.
    @inlinable package func matches(_ text: JSONText, _ word: StaticString) -> Bool {
        guard !text.hasEscapes else { return withUTF8(text) { bytes in Self.equal(bytes, word) } }
        return Self.equal(rawBytes(text), word)
    }

    @inlinable package static func equal(_ bytes: UnsafeRawBufferPointer, _ word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard bytes.count == count else { return false }
        for index in 0..<count where bytes[index] != word.utf8Start[index] {
            return false
        }
        return true
    }

    @usableFromInline func decodedString(_ text: JSONText) -> String {
        String(decoding: decodedBytes(text), as: UTF8.self)
    }

    /// Decodes a string that has already been scanned; its escapes are therefore known to be valid.
    @usableFromInline func decodedBytes(_ text: JSONText) -> [UInt8] {
        var decoder = self
        decoder.position = text.start
        var decoded: [UInt8] = []
        decoded.reserveCapacity(text.end - text.start)
        while decoder.position < text.end {
            let byte = bytes[decoder.position]
            guard byte == UInt8(ascii: "\\") else {
                decoded.append(byte)
                decoder.position += 1
                continue
            }
            guard let value = try? decoder.scanEscape(), let scalar = Unicode.Scalar(value) else { break }
            decoded.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
        }
        return decoded
    }

    /// Whether two strings are the same, byte for byte once decoded.
    package func equal(_ left: JSONText, _ right: JSONText) -> Bool {
        order(left, right) == 0
    }

    /// Negative, zero or positive as the first string's bytes sort before, with or after the second's.
    @usableFromInline func order(_ left: JSONText, _ right: JSONText) -> Int {
        withUTF8(left) { leftBytes in
            withUTF8(right) { rightBytes in
                for index in 0..<min(leftBytes.count, rightBytes.count) where leftBytes[index] != rightBytes[index] {
                    return leftBytes[index] < rightBytes[index] ? -1 : 1
                }
                return leftBytes.count - rightBytes.count
            }
        }
    }
}
