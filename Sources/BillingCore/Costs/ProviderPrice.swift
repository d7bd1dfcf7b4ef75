/// An entry of the price book: what a provider charges for one unit of a component, from an instant on.
package struct ProviderPrice: Sendable, Hashable {
    package let id: PriceID
    package let rate: Rate
    package let unitAmount: FixedDecimal
    package let currency: Currency
    package let effectiveFrom: Instant
    /// The version of the shared catalogue that added it; usage rated at an earlier one does not know it.
    package let createdVersion: Int64

    /// What a price is for. Prices of the same rate replace each other in the course of time.
    package struct Rate: Sendable, Hashable {
        private let providerName: ExactText
        package let model: ModelPattern
        package let component: CostComponent
        /// The price holds for calls with more input tokens than this; 0 for all.
        package let aboveInputTokens: Int64

        package init(
            provider: String,
            model: ModelPattern,
            component: CostComponent,
            aboveInputTokens: Int64 = 0
        ) {
            providerName = ExactText(provider)
            self.model = model
            self.component = component
            self.aboveInputTokens = aboveInputTokens
        }

        /// As events name it, or `*` for every provider without a price of its own.
        package var provider: String { providerName.text }
    }

    package init(
        id: PriceID,
        rate: Rate,
        unitAmount: FixedDecimal,
        currency: Currency,
        effectiveFrom: Instant,
        createdVersion: Int64
    ) {
        self.id = id
        self.rate = rate
        self.unitAmount = unitAmount
        self.currency = currency
        self.effectiveFrom = effectiveFrom
        self.createdVersion = createdVersion
    }
}

/// A model's name, or with a trailing `*` every model whose name starts like it.
package struct ModelPattern: Sendable, Hashable, CustomStringConvertible {
    private let name: ExactText

    /// Nil for an empty text, and for one with a `*` elsewhere than at its end.
    package init?(_ text: String) {
        guard !text.isEmpty, !text.dropLast().contains("*") else { return nil }
        name = ExactText(text)
    }

    package var text: String { name.text }

    /// What the names of a pattern's models start with; nil for the name of one model.
    var prefix: String? { text.hasSuffix("*") ? String(text.dropLast()) : nil }

    package var description: String { text }

    /// Whether it stands for the model of this name. Nothing is allocated.
    package func matches(_ model: String) -> Bool {
        text.utf8.last == UInt8(ascii: "*")
            ? model.utf8.starts(with: text.utf8.dropLast())
            : model.hasSameBytes(as: text)
    }

    /// Whether it stands for every model that the other one stands for.
    package func covers(_ other: ModelPattern) -> Bool {
        guard let prefix else { return self == other }
        return other.text.utf8.starts(with: prefix.utf8)
    }
}

extension ProviderPrice {
    /// The provider that stands for every one.
    package static let anyProvider = "*"
}
