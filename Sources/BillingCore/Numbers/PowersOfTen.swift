/// The powers of ten that scaling needs.
enum PowersOfTen {
    private static let table: [UInt64] = [
        1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000,
        100_000_000_000, 1_000_000_000_000, 10_000_000_000_000, 100_000_000_000_000, 1_000_000_000_000_000,
        10_000_000_000_000_000, 100_000_000_000_000_000, 1_000_000_000_000_000_000, 10_000_000_000_000_000_000,
    ]

    /// 10^exponent for 0...19.
    static func narrow(_ exponent: Int) -> UInt64 { table[exponent] }

    /// 10^exponent for 0...38.
    static func wide(_ exponent: Int) -> UInt128 {
        guard exponent > 19 else { return UInt128(table[exponent]) }
        return UInt128(table[19]) &* UInt128(table[exponent - 19])
    }
}
