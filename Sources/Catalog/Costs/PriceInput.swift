import BillingCore
import Web

/// The body of a new entry of the price book.
struct PriceInput: Sendable {
    /// So that the cost of any call stays in the range of an amount.
    static let maximumUnitAmount = FixedDecimal(1_000_000_000)
    static let maximumThreshold: Int64 = 1_000_000_000_000_000

    let rate: ProviderPrice.Rate
    let unitAmount: FixedDecimal
    let currency: Currency
    let effectiveFrom: Instant

    /// - Parameter costCurrency: the operator's, in which every provider cost is.
    static func read(_ fields: JSONObjectReader, costCurrency: Currency) throws -> PriceInput {
        let provider = fields.string("provider", minimumLength: 1, maximumLength: 100)
        let model = fields.value("model", expecting: "a model's name, or its beginning with a trailing \"*\"") {
            $0.unicodeScalars.count <= 255 ? ModelPattern($0) : nil
        }
        let component = component(fields)
        let threshold = fields.optionalInteger("above_input_tokens", in: 0...maximumThreshold) ?? 0
        let unitAmount = fields.decimal("unit_amount", minimum: .zero, maximum: maximumUnitAmount)
        let currency = fields.value("currency", default: costCurrency, expecting: "an ISO 4217 code in capitals") {
            Currency($0)
        }
        if currency != costCurrency {
            fields.fault(
                at: "currency",
                code: "currency_mismatch",
                detail: "provider costs are in \(costCurrency): \"currency\" must be that, or left out"
            )
        }
        let effectiveFrom = fields.instant("effective_from")
        try fields.finish()
        guard let model, let component else { throw CatalogFault.unreadable(table: "price_book", key: provider) }
        return PriceInput(
            rate: .init(provider: provider, model: model, component: component, aboveInputTokens: threshold),
            unitAmount: unitAmount,
            currency: currency,
            effectiveFrom: effectiveFrom
        )
    }

    private static func component(_ fields: JSONObjectReader) -> CostComponent? {
        let tokenClass = fields.optionalValue("token_class", expecting: listed(CostComponent.tokenClasses)) {
            CostComponent.tokenClass(named: $0)
        }
        let unit = fields.optionalValue("unit", expecting: listed(CostComponent.units)) {
            CostComponent.unit(named: $0)
        }
        switch (fields.contains("token_class"), fields.contains("unit")) {
        case (true, true):
            fields.fault(
                at: "unit",
                code: "ambiguous",
                detail: "a price is for a class of tokens or for another unit: give \"token_class\" or \"unit\""
            )
        case (false, false):
            fields.fault(
                at: "token_class",
                code: "required",
                detail: "give \"token_class\", \(listed(CostComponent.tokenClasses)), or \"unit\""
            )
        default: break
        }
        return tokenClass ?? unit
    }

    private static func listed(_ components: [CostComponent]) -> String {
        "one of " + components.map { "\"\($0.name)\"" }.joined(separator: ", ")
    }
}

extension CostComponent {
    static func tokenClass(named name: String) -> CostComponent? {
        CostComponent(name: name).flatMap { $0.isTokenClass ? $0 : nil }
    }

    static func unit(named name: String) -> CostComponent? {
        CostComponent(name: name).flatMap { $0.isTokenClass ? nil : $0 }
    }
}
