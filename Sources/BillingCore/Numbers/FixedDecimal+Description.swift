extension FixedDecimal: CustomStringConvertible {
    /// The shortest exact text: `12.5`, `0`, `-3`. Parsing it gives the value back.
    @usableFromInline package var description: String { text(minimumFractionalDigits: 0) }

    /// The exact text with all 12 fractional digits: `20.000000000000`.
    package var fixedDescription: String { text(minimumFractionalDigits: Self.fractionalDigits) }

    /// The exact text with at least so many fractional digits (0...12), more where the value needs them.
    package func text(minimumFractionalDigits: Int) -> String {
        DecimalWriter.text { write(to: &$0, minimumFractionalDigits) }
    }

    /// How much room `write(to:)` needs.
    package static let textBytes = DecimalWriter.textBytes

    /// Puts the bytes of such a text at the start of a buffer of at least `textBytes` bytes.
    /// - Returns: how many they are.
    package func write(to buffer: UnsafeMutableRawBufferPointer, minimumFractionalDigits: Int = 0) -> Int {
        DecimalWriter.write(to: buffer) { write(to: &$0, minimumFractionalDigits) }
    }

    private func write(to writer: inout DecimalWriter, _ minimumFractionalDigits: Int) {
        let (integer, fraction) = unscaled.magnitude.quotientAndRemainder(dividingBy: UInt128(PowersOfTen.narrow(12)))
        writer.putFraction(UInt64(fraction), minimumDigits: minimumFractionalDigits)
        writer.putPoint()
        if let small = UInt64(exactly: integer) {
            writer.putLeadingInteger(small, isNegative: isNegative)
        } else {
            let groups = integer.quotientAndRemainder(dividingBy: UInt128(PowersOfTen.narrow(18)))
            writer.putInnerInteger(UInt64(groups.remainder))
            writer.putLeadingInteger(UInt64(groups.quotient), isNegative: isNegative)
        }
    }
}
