import BillingCore

/// An entry of the price book as it is stored.
struct PriceRecord: Sendable {
    let price: ProviderPrice
    let source: PriceSource
    let createdAt: Instant
    /// Whether a stored cost was computed with it.
    var isUsed = false
}

/// Where an entry came from.
enum PriceSource: String, Sendable, CaseIterable {
    case api
    /// LiteLLM's table of prices, by `turnpike prices import`.
    case litellm
}

/// What the API shows of an entry.
struct PriceBody: Encodable, Sendable {
    let id: PriceID
    let provider: String
    let model: String
    let tokenClass: String?
    let unit: String?
    let aboveInputTokens: Int64
    let unitAmount: FixedDecimal
    let currency: String
    let effectiveFrom: Instant
    let source: String
    let used: Bool
    let createdAt: Instant

    init(_ record: PriceRecord) {
        let price = record.price
        let component = price.rate.component
        id = price.id
        provider = price.rate.provider
        model = price.rate.model.text
        tokenClass = component.isTokenClass ? component.name : nil
        unit = component.isTokenClass ? nil : component.name
        aboveInputTokens = price.rate.aboveInputTokens
        unitAmount = price.unitAmount
        currency = price.currency.code
        effectiveFrom = price.effectiveFrom
        source = record.source.rawValue
        used = record.isUsed
        createdAt = record.createdAt
    }
}
