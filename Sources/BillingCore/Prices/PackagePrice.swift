/// Usage sold in packages: ceil(max(0, quantity - free units) / package size) x amount.
package struct PackagePrice: Sendable, Hashable {
    /// For each package begun.
    package let amount: FixedDecimal
    /// In units; above zero.
    package let packageSize: FixedDecimal
    package let freeUnits: FixedDecimal

    package init(amount: FixedDecimal, packageSize: FixedDecimal, freeUnits: FixedDecimal) {
        precondition(packageSize > .zero, "a package must hold something")
        self.amount = amount
        self.packageSize = packageSize
        self.freeUnits = freeUnits
    }

    /// How many packages a quantity begins. Throws `.outOfRange` at 10^26 and more.
    package func packages(for quantity: FixedDecimal) throws(DecimalError) -> FixedDecimal {
        let charged = try quantity.subtracting(freeUnits)
        guard charged > .zero else { return .zero }
        let (whole, rest) = charged.unscaled.quotientAndRemainder(dividingBy: packageSize.unscaled)
        let count = rest == 0 ? whole : whole + 1
        let (unscaled, overflow) = count.multipliedReportingOverflow(by: FixedDecimal.unscaledOne)
        guard !overflow else { throw .outOfRange }
        return try FixedDecimal(validating: unscaled)
    }
}
