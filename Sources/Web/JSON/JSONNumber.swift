/// A scanned number: where its text lies, and its exact value as `±significand * 10^exponent`.
///
/// The significand has no trailing zero, so 1, 1.0 and 10e-1 have the same parts; zero has no digits and no sign.
@usableFromInline package struct JSONNumber: Sendable {
    @usableFromInline package let start: Int
    @usableFromInline package let end: Int
    @usableFromInline package let isNegative: Bool
    /// The significant digits as an integer, modulo 2^64; exact when there are at most 19 of them.
    @usableFromInline package let significand: UInt64
    @usableFromInline package let digitCount: Int
    @usableFromInline package let exponent: Int

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
        guard position - start <= numberCharacters else { throw fault(.numberTooLong, at: start) }
        guard digits.significantCount > 0 else {
            return JSONNumber(
                start: start,
                end: position,
                isNegative: false,
                significand: 0,
                digitCount: 0,
                exponent: 0
            )
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

extension JSONNumber {
    /// The number that the text is, whole; nil when it is anything else.
    package init?(whole text: UnsafeRawBufferPointer) {
        guard let first = text.first, first == UInt8(ascii: "-") || first &- UInt8(ascii: "0") <= 9 else { return nil }
        var scanner = JSONScanner(text)
        guard let number = try? scanner.scanNumber(), scanner.position == text.count else { return nil }
        self = number
    }

    /// The value in plain notation, without exponent and needless zeros: the same for every spelling. `bytes` is what
    /// was scanned.
    package func canonicalText(in bytes: UnsafeRawBufferPointer) -> String {
        guard digitCount > 0 else { return "0" }
        var digits = significantDigits(in: bytes)
        let point = digitCount + exponent
        if exponent > 0 {
            digits += Array(repeating: UInt8(ascii: "0"), count: exponent)
        } else if point <= 0 {
            digits = Array("0.".utf8) + Array(repeating: UInt8(ascii: "0"), count: -point) + digits
        } else if exponent < 0 {
            digits.insert(UInt8(ascii: "."), at: point)
        }
        return (isNegative ? "-" : "") + String(decoding: digits, as: UTF8.self)
    }

    private func significantDigits(in bytes: UnsafeRawBufferPointer) -> [UInt8] {
        var digits: [UInt8] = []
        for byte in bytes[start..<end] where digits.count < digitCount {
            if byte &- UInt8(ascii: "0") <= 9, !digits.isEmpty || byte != UInt8(ascii: "0") {
                digits.append(byte)
            }
        }
        return digits
    }
}
