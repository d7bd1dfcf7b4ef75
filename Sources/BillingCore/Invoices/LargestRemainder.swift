extension FixedDecimal {
    /// `self x part / whole`, rounded half away from zero to the minor unit. All are whole minor units and not below
    /// zero, and this is at most the whole, which is above zero.
    func scaled(
        by part: FixedDecimal,
        over whole: FixedDecimal,
        currency: Currency
    ) throws(DecimalError) -> FixedDecimal {
        precondition(!isNegative && self <= whole && whole > .zero && !part.isNegative, "only a part can be scaled")
        let unit = UInt128(PowersOfTen.narrow(FixedDecimal.fractionalDigits - currency.minorUnits))
        let divisor = whole.unscaled.magnitude / unit
        let product = (unscaled.magnitude / unit).multipliedFullWidth(by: part.unscaled.magnitude / unit)
        let (quotient, remainder) = divisor.dividingFullWidth((high: product.high, low: product.low))
        let units = quotient + (remainder >= divisor - remainder ? 1 : 0)
        let (scaled, overflow) = units.multipliedReportingOverflow(by: unit)
        guard !overflow, scaled <= UInt128(Int128.max) else { throw .outOfRange }
        return try FixedDecimal(validating: Int128(scaled))
    }
}

/// Splits an amount over weights in whole minor units, in proportion, so that nothing is lost or gained.
///
/// Each share is the exact one cut down to a whole unit; the units that are left go to the largest remainders, among
/// equals to the earlier position (the method of Hamilton).
enum LargestRemainder {
    /// - Parameters:
    ///   - amount: whole minor units, not below zero and at most the sum of the weights above zero.
    ///   - weights: whole minor units; what is not above zero gets nothing.
    /// - Returns: one share for each weight, none above its weight, together the amount.
    static func split(
        _ amount: FixedDecimal,
        over weights: [FixedDecimal],
        currency: Currency
    ) throws(DecimalError) -> [FixedDecimal] {
        let unit = UInt128(PowersOfTen.narrow(FixedDecimal.fractionalDigits - currency.minorUnits))
        let whole = amount.unscaled.magnitude / unit
        var sum = UInt128(0)
        let units = weights.map { $0 > .zero ? $0.unscaled.magnitude / unit : 0 }
        for weight in units {
            let (next, overflow) = sum.addingReportingOverflow(weight)
            guard !overflow else { throw .outOfRange }
            sum = next
        }
        precondition(!amount.isNegative && whole <= sum, "only what there is can be split")
        guard whole > 0 else { return weights.map { _ in .zero } }
        var shares = units.map { weight in
            let product = whole.multipliedFullWidth(by: weight)
            return sum.dividingFullWidth((high: product.high, low: product.low))
        }
        var left = shares.reduce(whole) { $0 - $1.quotient }
        let byRemainder = shares.indices.sorted {
            shares[$0].remainder == shares[$1].remainder ? $0 < $1 : shares[$0].remainder > shares[$1].remainder
        }
        for index in byRemainder where left > 0 {
            shares[index].quotient += 1
            left -= 1
        }
        var result: [FixedDecimal] = []
        for share in shares { result.append(try FixedDecimal(validating: Int128(share.quotient * unit))) }
        return result
    }
}
