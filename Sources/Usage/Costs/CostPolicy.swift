package import BillingCore

/// How the operator wants provider costs to be told, from the configuration.
package struct CostPolicy: Sendable {
    /// In which reported costs are.
    package var currency: Currency
    /// Sources of events whose reported cost is the provider cost where the price book has no price.
    package var trustedSources: Set<String>

    package init(currency: Currency = .usd, trustedSources: Set<String> = []) {
        self.currency = currency
        self.trustedSources = trustedSources
    }
}
