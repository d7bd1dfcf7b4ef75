package import BillingCore
import Postgres

/// What providers charge and what currencies are worth, at one version: part of the shared catalogue's snapshot, and
/// kept by it as long as it does not change.
package final class CostCatalog: Sendable {
    /// The value of `catalog_version.price_version` that this was read at.
    package let version: Int64
    package let prices: PriceBook
    package let rates: FXRates

    package static let empty = CostCatalog(version: 0, prices: .empty, rates: .none)

    package init(version: Int64, prices: PriceBook, rates: FXRates) {
        self.version = version
        self.prices = prices
        self.rates = rates
    }

    convenience init(version: Int64, in transaction: borrowing Transaction) throws {
        self.init(
            version: version,
            prices: PriceBook(try PriceBookStore.all(in: transaction)),
            rates: FXRates(try FXRateStore.all(in: transaction))
        )
    }
}
