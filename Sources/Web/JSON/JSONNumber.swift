/// A scanned number: where its text lies, and its exact value as `±significand * 10^exponent`.
///
/// The significand has no trailing zero, so 1, 1.0 and 10e-1 have the same parts; zero has no digits and no sign.
package struct JSONNumber: Sendable {
    package let start: Int
    package let end: Int
    package let isNegative: Bool
    /// The significant digits as an integer, modulo 2^64; exact when there are at most 19 of them.
    package let significand: UInt64
    package let digitCount: Int
    package let exponent: Int

    /// The hash of the value, whichever way it was written.
    @inlinable package var hash: UInt64 {
        let shape = UInt64(truncatingIfNeeded: digitCount << 32 ^ exponent) ^ (isNegative ? 1 << 63 : 0)
        return JSONHash.mix(significand, shape)
    }

    /// The value when it is an integer of at most 18 digits.
    @inlinable package var integer: Int64? {
        guard exponent >= 0, digitCount + exponent <= 18 else { return nil }
        var value = Int64(truncatingIfNeeded: significand)
        for _ in 0..<exponent {
            value *= 10
        }
        return isNegative ? -value : value
    }

    @inlinable init(start: Int, end: Int, isNegative: Bool, significand: UInt64, digitCount: Int, exponent: Int) {
        self.start = start
        self.end = end
        self.isNegative = isNegative
        self.significand = significand
        self.digitCount = digitCount
        self.exponent = exponent
    }
}

/// Reads the digits of one number.
@usableFromInline struct JSONDigits {
    @usableFromInline var significand: UInt64 = 0
    @usableFromInline var count = 0
    @usableFromInline var significantValue: UInt64 = 0
    @usableFromInline var significantCount = 0

    @inlinable init() {}

    @inlinable mutating func append(_ digit: UInt8) {
        significand = significand &* 10 &+ UInt64(digit)
        count += count > 0 || digit > 0 ? 1 : 0
        if digit > 0 {
            significantValue = significand
            significantCount = count
        }
    }
}

extension JSONScanner {
    /// Scans the number that starts at `position`.
    @inlinable package mutating func scanNumber() throws(JSONFault) -> JSONNumber {
        let start = position
        let isNegative = bytes[position] == UInt8(ascii: "-")
        position += isNegative ? 1 : 0
        var digits = JSONDigits()
        let isZeroLed = position < bytes.count && bytes[position] == UInt8(ascii: "0")
        guard try scanDigits(&digits) == 1 || !isZeroLed else { throw fault(.invalidNumber, at: start) }
        var exponent = 0
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            position += 1
            exponent = -(try scanDigits(&digits))
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            exponent += try scanExponent(numberAt: start)
        }
        guard position - start <= JSONLimits.numberCharacters else { throw fault(.numberTooLong, at: start) }
        guard digits.significantCount > 0 else {
            return JSONNumber(
                start: start, end: position, isNegative: false, significand: 0, digitCount: 0, exponent: 0)
        }
        return JSONNumber(
            start: start,
            end: position,
            isNegative: isNegative,
            significand: digits.significantValue,
            digitCount: digits.significantCount,
            exponent: exponent + digits.count - digits.significantCount
        )
    }

    /// Reads one digit or more, and returns how many.
    @inlinable mutating func scanDigits(_ digits: inout JSONDigits) throws(JSONFault) -> Int {
        let start = position
        while position < bytes.count {
            let digit = bytes[position] &- UInt8(ascii: "0")
            guard digit <= 9 else { break }
            digits.append(digit)
            position += 1
        }
        guard position > start else { throw fault(position < bytes.count ? .invalidNumber : .unexpectedEnd) }
        return position - start
    }

    @usableFromInline mutating func scanExponent(numberAt start: Int) throws(JSONFault) -> Int {
        position += 1
        guard position < bytes.count else { throw fault(.unexpectedEnd) }
        let isNegative = bytes[position] == UInt8(ascii: "-")
        if isNegative || bytes[position] == UInt8(ascii: "+") {
            position += 1
        }
        var exponent = 0
        let first = position
        while position < bytes.count {
            let digit = bytes[position] &- UInt8(ascii: "0")
            guard digit <= 9 else { break }
            exponent = min(exponent * 10 + Int(digit), JSONLimits.exponent + 1)
            position += 1
        }
        guard position > first else { throw fault(position < bytes.count ? .invalidNumber : .unexpectedEnd) }
        guard exponent <= JSONLimits.exponent else { throw fault(.exponentTooLarge, at: start) }
        return isNegative ? -exponent : exponent
    }
}
