extension FixedDecimal: CustomStringConvertible {
    /// The shortest exact text: `12.5`, `0`, `-3`. Parsing it gives the value back.
    package var description: String { text(minimumFractionalDigits: 0) }

    /// The exact text with all 12 fractional digits: `20.000000000000`.
    package var fixedDescription: String { text(minimumFractionalDigits: Self.fractionalDigits) }

    /// The exact text with at least so many fractional digits (0...12), more where the value needs them.
    package func text(minimumFractionalDigits: Int) -> String {
        let (integer, fraction) = unscaled.magnitude.quotientAndRemainder(
            dividingBy: UInt128(Self.unscaledOne.magnitude)
        )
        return decimalText(
            isNegative: isNegative,
            integer: [UInt64(integer / 1_000_000_000_000_000_000), UInt64(integer % 1_000_000_000_000_000_000)],
            fraction: [UInt64(fraction)],
            fractionGroupDigits: Self.fractionalDigits,
            minimumFractionalDigits: minimumFractionalDigits
        )
    }
}

/// Writes a decimal from groups of digits, most significant first: integer groups of 18 digits, fraction groups of
/// `fractionGroupDigits`. Leading zeros of the integer are left out, trailing zeros of the fraction down to the
/// minimum.
func decimalText(
    isNegative: Bool,
    integer: [UInt64],
    fraction: [UInt64],
    fractionGroupDigits: Int,
    minimumFractionalDigits: Int
) -> String {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(integer.count * 18 + fraction.count * fractionGroupDigits + 2)
    for group in integer { appendDigits(of: group, width: 18, to: &bytes) }
    let significant = bytes.firstIndex { $0 != UInt8(ascii: "0") } ?? bytes.count - 1
    bytes.removeSubrange(0..<significant)
    if isNegative { bytes.insert(UInt8(ascii: "-"), at: 0) }

    let pointIndex = bytes.count
    bytes.append(UInt8(ascii: "."))
    for group in fraction { appendDigits(of: group, width: fractionGroupDigits, to: &bytes) }
    while bytes.count > pointIndex + 1 + minimumFractionalDigits, bytes.last == UInt8(ascii: "0") {
        bytes.removeLast()
    }
    if bytes.count == pointIndex + 1 { bytes.removeLast() }
    return String(decoding: bytes, as: UTF8.self)
}

private func appendDigits(of value: UInt64, width: Int, to bytes: inout [UInt8]) {
    var value = value
    let start = bytes.count
    bytes.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: width))
    var index = start + width - 1
    while value > 0, index >= start {
        bytes[index] = UInt8(ascii: "0") + UInt8(value % 10)
        value /= 10
        index -= 1
    }
}
