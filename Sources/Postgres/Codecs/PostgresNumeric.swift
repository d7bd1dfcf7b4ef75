/// A `numeric` with at most 12 fractional digits: `unscaled` is the value times 10^12, exactly.
///
/// `numeric(38, 12)` holds every `|unscaled| < 10^38`. Reading a value with more fractional digits, one that doesn't
/// fit, `NaN` or an infinity is a decoding error: nothing is ever rounded on the way.
@usableFromInline package struct PostgresNumeric: Hashable, Sendable {
    @usableFromInline package let unscaled: Int128

    @inlinable
    package init(unscaled: Int128) {
        self.unscaled = unscaled
    }
}

/// The binary form (`numeric_send` in PostgreSQL's numeric.c) is a header of four 16-bit words (number of digits,
/// weight of the first, sign, display scale) and digits in base 10,000. Twelve decimals are three such digits, so the
/// digits of `unscaled` in base 10,000 are the digits sent, the last with weight -3.
extension PostgresNumeric: PostgresEncodable, PostgresDecodable {
    @inlinable package static var postgresType: PostgresType { .numeric }
    @inlinable package static var postgresArrayType: PostgresType { .numericArray }

    /// Eight bytes of header and ten digits, which is what 39 decimal digits take.
    @inlinable package var postgresSizeBound: Int { 28 }

    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        let digits = destination + 8
        var magnitude = unscaled.magnitude
        var position = 10
        while magnitude != 0 {
            var chunk: UInt64
            var width = 4
            if magnitude <= UInt128(UInt64.max) {
                chunk = UInt64(truncatingIfNeeded: magnitude)
                magnitude = 0
                width = 5
            } else {
                let (quotient, remainder) = magnitude.quotientAndRemainder(dividingBy: 10_000_000_000_000_000)
                chunk = UInt64(truncatingIfNeeded: remainder)
                magnitude = quotient
            }
            while width > 0 && (chunk != 0 || magnitude != 0) {
                position -= 1
                width -= 1
                digits.storeBigEndian(UInt16(truncatingIfNeeded: chunk % 10_000), at: position * 2)
                chunk /= 10_000
            }
        }
        let count = 10 - position
        if count > 0 && position > 0 {
            digits.copyMemory(from: digits + position * 2, byteCount: count * 2)
        }
        destination.storeBigEndian(UInt16(count))
        destination.storeBigEndian(Int16(count == 0 ? 0 : count - 4), at: 2)
        destination.storeBigEndian(unscaled < 0 ? UInt16(0x4000) : 0, at: 4)
        destination.storeBigEndian(UInt16(12), at: 6)
        return 8 + count * 2
    }

    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        guard type == .numeric, bytes.count >= 8 else { return nil }
        let count = Int(bytes.loadBigEndian(UInt16.self))
        let weight = Int(bytes.loadBigEndian(Int16.self, at: 2))
        let sign = bytes.loadBigEndian(UInt16.self, at: 4)
        guard sign == 0 || sign == 0x4000, bytes.count == 8 + count * 2 else { return nil }

        var magnitude: UInt128 = 0
        for index in 0..<count {
            let digit = bytes.loadBigEndian(UInt16.self, at: 8 + index * 2)
            guard digit < 10_000 else { return nil }
            if weight - index < -3 {
                guard digit == 0 else { return nil }
                continue
            }
            guard Self.shift(&magnitude, adding: digit) else { return nil }
        }
        if magnitude != 0 {
            for _ in 0..<max(0, weight - count + 4) {
                guard Self.shift(&magnitude, adding: 0) else { return nil }
            }
        }
        guard magnitude <= UInt128(Int128.max) else { return nil }
        let value = Int128(magnitude)
        self.init(unscaled: sign == 0 ? value : -value)
    }

    /// `magnitude = magnitude * 10,000 + digit`; false when that overflows.
    @inlinable
    static func shift(_ magnitude: inout UInt128, adding digit: UInt16) -> Bool {
        let (product, productOverflows) = magnitude.multipliedReportingOverflow(by: 10_000)
        let (sum, sumOverflows) = product.addingReportingOverflow(UInt128(digit))
        magnitude = sum
        return !productOverflows && !sumOverflows
    }
}
