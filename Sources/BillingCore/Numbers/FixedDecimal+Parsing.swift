extension FixedDecimal {
    /// Reads a number of the JSON grammar (RFC 8259, section 6), rounded to 12 fractional digits half away from zero.
    ///
    /// Throws `.malformed` for any other text (`+1`, `.5`, `1.`, `01`, white space) and `.outOfRange` when the rounded
    /// value's magnitude is 10^26 or more. `-0` is zero.
    package init(parsing text: String) throws(DecimalError) {
        var text = text
        let result = text.withUTF8 { bytes in
            Result { () throws(DecimalError) in try FixedDecimal(parsing: UnsafeRawBufferPointer(bytes)) }
        }
        self = try result.get()
    }

    /// Reads a number from UTF-8 bytes, as `init(parsing:)` does from text. It allocates nothing.
    @inlinable
    package init(parsing utf8: UnsafeRawBufferPointer) throws(DecimalError) {
        let count = utf8.count
        if count > 0, count <= 18, utf8[0] != UInt8(ascii: "0") || count == 1 {
            var value: UInt64 = 0
            var index = 0
            while index < count {
                let digit = utf8[index] &- UInt8(ascii: "0")
                guard digit <= 9 else { break }
                value = value &* 10 &+ UInt64(truncatingIfNeeded: digit)
                index &+= 1
            }
            if index == count {
                unscaled = Int128(truncatingIfNeeded: value) &* Self.unscaledOne
                return
            }
        }
        let number = try DecimalText(utf8)
        unscaled = try number.unscaled()
    }
}

/// A number whose grammar is checked, still as text: where its digits are, and its exponent.
@usableFromInline
struct DecimalText {
    private let utf8: UnsafeRawBufferPointer
    private let isNegative: Bool
    private let integerStart: Int
    private let integerCount: Int
    private var fractionStart = 0
    private var fractionCount = 0
    private var exponent = 0

    /// Beyond any buffer's length, so a clamped exponent gives the same result as the one written.
    private static let exponentLimit = 1_000_000_000_000_000

    @usableFromInline
    init(_ utf8: UnsafeRawBufferPointer) throws(DecimalError) {
        self.utf8 = utf8
        var index = 0
        isNegative = utf8.first == UInt8(ascii: "-")
        if isNegative { index += 1 }

        integerStart = index
        Self.skipDigits(of: utf8, &index)
        integerCount = index - integerStart
        guard integerCount > 0, integerCount == 1 || utf8[integerStart] != UInt8(ascii: "0") else {
            throw .malformed
        }
        if index < utf8.count, utf8[index] == UInt8(ascii: ".") {
            index += 1
            fractionStart = index
            Self.skipDigits(of: utf8, &index)
            fractionCount = index - fractionStart
            guard fractionCount > 0 else { throw .malformed }
        }
        if index < utf8.count, utf8[index] | 0x20 == UInt8(ascii: "e") {
            index += 1
            exponent = try Self.exponent(of: utf8, &index)
        }
        guard index == utf8.count else { throw .malformed }
    }

    private static func skipDigits(of utf8: UnsafeRawBufferPointer, _ index: inout Int) {
        while index < utf8.count, utf8[index] &- UInt8(ascii: "0") <= 9 { index += 1 }
    }

    private static func exponent(of utf8: UnsafeRawBufferPointer, _ index: inout Int) throws(DecimalError) -> Int {
        guard index < utf8.count else { throw .malformed }
        let isNegative = utf8[index] == UInt8(ascii: "-")
        if isNegative || utf8[index] == UInt8(ascii: "+") { index += 1 }
        let start = index
        skipDigits(of: utf8, &index)
        guard index > start else { throw .malformed }
        var value = 0
        for byte in utf8[start..<index] where value < exponentLimit {
            value = value * 10 + Int(byte - UInt8(ascii: "0"))
        }
        value = min(value, exponentLimit)
        return isNegative ? -value : value
    }

    /// The value times 10^12, rounded half away from zero to an integer below 10^38.
    @usableFromInline
    func unscaled() throws(DecimalError) -> Int128 {
        let count = integerCount + fractionCount
        var first = 0
        while first < count, digit(first) == 0 { first += 1 }
        guard first < count else { return 0 }

        // Digits before `kept` belong to the unscaled integer; the one at `kept` decides the rounding.
        let kept = integerCount + exponent + FixedDecimal.fractionalDigits
        guard kept >= first else { return 0 }
        guard kept - first <= 38 else { throw .outOfRange }
        let end = min(kept, count)
        var magnitude = integer(of: first..<end) &* PowersOfTen.wide(kept - end)
        if kept < count, digit(kept) >= 5 { magnitude &+= 1 }
        guard magnitude < FixedDecimal.unscaledLimit else { throw .outOfRange }
        let unscaled = Int128(truncatingIfNeeded: magnitude)
        return isNegative ? 0 &- unscaled : unscaled
    }

    /// The digit at a position counted over the integer and the fraction, the point left out.
    private func digit(_ position: Int) -> UInt8 {
        let offset =
            position < integerCount ? integerStart + position : fractionStart + position - integerCount
        return utf8[offset] &- UInt8(ascii: "0")
    }

    /// At most 38 digits as an integer, computed in two halves that fit 64 bits.
    private func integer(of positions: Range<Int>) -> UInt128 {
        let middle = min(positions.lowerBound + 19, positions.upperBound)
        var high: UInt64 = 0
        for position in positions.lowerBound..<middle { high = high &* 10 &+ UInt64(digit(position)) }
        guard middle < positions.upperBound else { return UInt128(high) }
        var low: UInt64 = 0
        for position in middle..<positions.upperBound { low = low &* 10 &+ UInt64(digit(position)) }
        return UInt128(high) &* PowersOfTen.wide(positions.upperBound - middle) &+ UInt128(low)
    }
}
