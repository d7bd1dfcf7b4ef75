import TestSupport

/// A decimal schoolbook integer, slow and obvious, to check the fast arithmetic against.
struct NaiveInteger: Equatable, CustomStringConvertible {
    var isNegative: Bool
    /// Least significant first, without leading zeros; empty for zero.
    var digits: [Int]

    init(_ text: String) {
        isNegative = text.hasPrefix("-")
        digits = text.drop { $0 == "-" }.reversed().map { $0.wholeNumberValue ?? 0 }
        normalise()
    }

    init(_ value: Int128) { self.init(String(value)) }

    private init(isNegative: Bool, digits: [Int]) {
        self.isNegative = isNegative
        self.digits = digits
        normalise()
    }

    private mutating func normalise() {
        while digits.last == 0 { digits.removeLast() }
        if digits.isEmpty { isNegative = false }
    }

    var description: String {
        digits.isEmpty ? "0" : (isNegative ? "-" : "") + digits.reversed().map(String.init).joined()
    }

    var negated: NaiveInteger { NaiveInteger(isNegative: !isNegative, digits: digits) }

    private static func magnitudeIsLess(_ left: [Int], _ right: [Int]) -> Bool {
        left.count == right.count
            ? left.reversed().lexicographicallyPrecedes(right.reversed()) : left.count < right.count
    }

    static func + (left: NaiveInteger, right: NaiveInteger) -> NaiveInteger {
        if left.isNegative != right.isNegative {
            let (large, small) = magnitudeIsLess(left.digits, right.digits) ? (right, left) : (left, right)
            var digits = large.digits
            for index in small.digits.indices { digits[index] -= small.digits[index] }
            for index in digits.indices where digits[index] < 0 {
                digits[index] += 10
                digits[index + 1] -= 1
            }
            return NaiveInteger(isNegative: large.isNegative, digits: digits)
        }
        var digits: [Int] = []
        var carry = 0
        for index in 0...max(left.digits.count, right.digits.count) {
            let sum =
                carry + (index < left.digits.count ? left.digits[index] : 0)
                + (index < right.digits.count ? right.digits[index] : 0)
            digits.append(sum % 10)
            carry = sum / 10
        }
        return NaiveInteger(isNegative: left.isNegative, digits: digits)
    }

    static func * (left: NaiveInteger, right: NaiveInteger) -> NaiveInteger {
        var digits = [Int](repeating: 0, count: left.digits.count + right.digits.count + 1)
        for (leftIndex, leftDigit) in left.digits.enumerated() {
            for (rightIndex, rightDigit) in right.digits.enumerated() {
                digits[leftIndex + rightIndex] += leftDigit * rightDigit
            }
        }
        for index in digits.indices.dropLast() {
            digits[index + 1] += digits[index] / 10
            digits[index] %= 10
        }
        return NaiveInteger(isNegative: left.isNegative != right.isNegative, digits: digits)
    }

    /// Rounded toward zero, by long division.
    func divided(by divisor: NaiveInteger) -> NaiveInteger {
        var quotient: [Int] = []
        var rest = NaiveInteger("0")
        for digit in digits.reversed() {
            rest = NaiveInteger(isNegative: false, digits: [digit] + rest.digits)
            var count = 0
            while !Self.magnitudeIsLess(rest.digits, divisor.digits) {
                rest = rest + NaiveInteger(isNegative: true, digits: divisor.digits)
                count += 1
            }
            quotient.append(count)
        }
        return NaiveInteger(isNegative: isNegative != divisor.isNegative, digits: quotient.reversed())
    }

    /// Divided by a power of ten and rounded half away from zero.
    func roundedOff(digits count: Int) -> NaiveInteger {
        let half = NaiveInteger(isNegative: isNegative, digits: Array(repeating: 0, count: max(0, count - 1)) + [5])
        let shifted = count == 0 ? self : self + half
        return NaiveInteger(isNegative: isNegative, digits: Array(shifted.digits.dropFirst(count)))
    }
}

extension SeededGenerator {
    /// A value of any sign and a random number of decimal digits, so that small and large ones are equally frequent.
    mutating func unscaledDecimal() -> Int128 {
        let digits = Int.random(in: 1...38, using: &self)
        var value: Int128 = 0
        for _ in 0..<digits { value = value * 10 + Int128(Int.random(in: 0...9, using: &self)) }
        return Bool.random(using: &self) ? value : -value
    }
}
