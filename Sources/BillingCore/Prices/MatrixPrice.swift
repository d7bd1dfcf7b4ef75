/// A price for each combination of dimension values. Each combination, listed or priced by the default, has a count and
/// a charge of its own; the feature's charge is their sum.
package struct MatrixPrice: Sendable, Hashable {
    /// A combination with a price of its own.
    package struct Cell: Sendable, Hashable {
        /// The value of each dimension, in the order of the dimensions.
        package let values: [String]
        /// Neither `flat` nor a matrix.
        package let price: Price

        package init(values: [String], price: Price) {
            self.values = values
            self.price = price
        }
    }

    /// Names in ascending order.
    package let dimensions: [String]
    package let cells: [Cell]
    /// For every combination that is not listed; without it such usage has no price.
    package let defaultPrice: Price?
    private let prices: [String: Price]

    /// Of two cells with the same values the first is taken.
    package init(dimensions: [String], cells: [Cell], defaultPrice: Price?) {
        self.dimensions = dimensions
        self.cells = cells
        self.defaultPrice = defaultPrice
        let listed = cells.map { (PriceCell(dimensions: dimensions, values: $0.values).text, $0.price) }
        prices = Dictionary(listed) { first, _ in first }
    }

    /// The price of a combination, by its canonical text; nil where it has none, which is never free.
    package func price(ofCell text: String) -> Price? {
        prices[text] ?? defaultPrice
    }

    /// The combination of some values, in the order of the dimensions.
    package func cell(_ values: [String]) -> PriceCell {
        PriceCell(dimensions: dimensions, values: values)
    }
}
