package import BillingCore
import Web

/// What LiteLLM's `model_prices_and_context_window.json` says, read from its text digit by digit.
package struct LiteLLMPrices: Sendable {
    /// Every price in the file is in this currency.
    package static let currency = Currency.usd
    private static let maximumBytes = 64 * 1024 * 1024

    /// One price of the file.
    package struct Quote: Sendable, Hashable {
        package let rate: ProviderPrice.Rate
        package let unitAmount: FixedDecimal
    }

    /// A price that can't be taken over, or with no field a whole model.
    package struct Skipped: Sendable, Hashable {
        package let model: String
        package let field: String?
        package let reason: String
    }

    /// In the order of the file; no rate twice.
    package private(set) var quotes: [Quote] = []
    package private(set) var skipped: [Skipped] = []
    package private(set) var modelCount = 0
    /// Every provider that the file names.
    package private(set) var providers: Set<String> = []
    private var seen: [ProviderPrice.Rate: Entry] = [:]
    /// Which of the entries is right can't be told, so that none is a price.
    private var contradicted: Set<ProviderPrice.Rate> = []

    private struct Entry {
        let model: String
        let field: String
        let amount: FixedDecimal
    }

    /// - Parameters:
    ///   - selection: which providers are wanted, and under which names.
    ///   - rounding: whether a price with more than 12 digits after the point is rounded, half away from zero, instead
    ///     of skipped.
    /// - Throws: `JSONFault` when the file is not JSON; `NotAPriceTable` when it is something else; `UnknownProvider`
    ///   when it has no model of a provider that is wanted.
    package init(parsing bytes: [UInt8], selection: ProviderSelection, rounding: Bool = false) throws {
        guard case .object(let models) = try JSONValue(parsing: bytes, maximumBytes: Self.maximumBytes) else {
            throw NotAPriceTable()
        }
        for model in models {
            guard case .object(let fields) = model.value else { throw NotAPriceTable() }
            read(model.name, fields, selection, rounding)
        }
        quotes.removeAll { contradicted.contains($0.rate) }
        if let unknown = selection.providers.subtracting(providers).min() {
            throw UnknownProvider(name: unknown, nearest: Nearest.name(to: unknown, among: providers))
        }
        guard modelCount > 0 || !skipped.isEmpty else { throw NotAPriceTable() }
    }

    /// A provider that was asked for is none of the file's.
    package struct UnknownProvider: Error, CustomStringConvertible {
        package let name: String
        package let nearest: String?

        package var description: String {
            "the file has no model of the provider '\(name)'" + (nearest.map { "; did you mean '\($0)'?" } ?? "")
        }
    }

    /// The file is JSON, but not a table of models.
    package struct NotAPriceTable: Error, CustomStringConvertible {
        package let description = "the file is no table of models by name, as LiteLLM publishes it"
    }

    private mutating func read(
        _ name: String,
        _ fields: [JSONMember],
        _ selection: ProviderSelection,
        _ rounding: Bool
    ) {
        // The file describes itself as a model of this name.
        guard name != "sample_spec" else { return }
        guard case .string(let listed) = fields.first(where: { $0.name == "litellm_provider" })?.value else {
            return skip(name, nil, "it names no provider")
        }
        let provider = Self.provider(listed)
        providers.insert(provider)
        guard let chosen = selection.name(for: provider) else { return }
        let text = name.hasPrefix(provider + "/") ? String(name.dropFirst(provider.count + 1)) : name
        guard let model = ModelPattern(text), text.unicodeScalars.count <= 255, chosen.unicodeScalars.count <= 100
        else {
            return skip(name, nil, "its name is no model's, nor the beginning of one with a trailing *")
        }
        modelCount += 1
        for field in LiteLLMField.all(of: fields) {
            switch field {
            case .unusable(let field, let reason):
                skip(name, field, reason)
            case .price(let field, let component, let threshold, let number):
                let rate = ProviderPrice.Rate(
                    provider: chosen,
                    model: model,
                    component: component,
                    aboveInputTokens: threshold
                )
                add(rate, number, model: name, field: field, rounding: rounding)
            }
        }
    }

    private mutating func add(
        _ rate: ProviderPrice.Rate,
        _ number: String,
        model: String,
        field: String,
        rounding: Bool
    ) {
        guard let amount = try? FixedDecimal(parsing: number), amount <= PriceInput.maximumUnitAmount else {
            return skip(model, field, "\(number) is beyond what a price may be")
        }
        guard !number.hasPrefix("-") else { return skip(model, field, "\(number) is negative") }
        let digits = Self.fractionalDigits(of: number)
        guard digits <= FixedDecimal.fractionalDigits || rounding else {
            return skip(model, field, "\(number) has \(digits) digits after the point; a price has at most 12")
        }
        guard let earlier = seen[rate] else {
            seen[rate] = Entry(model: model, field: field, amount: amount)
            return quotes.append(Quote(rate: rate, unitAmount: amount))
        }
        guard earlier.amount != amount else { return }
        if contradicted.insert(rate).inserted { skip(earlier, contradictedBy: amount) }
        skip(Entry(model: model, field: field, amount: amount), contradictedBy: earlier.amount)
    }

    private mutating func skip(_ entry: Entry, contradictedBy other: FixedDecimal) {
        let reason = "another entry of the same model says \(other), not \(entry.amount)"
        skip(entry.model, entry.field, reason)
    }

    private mutating func skip(_ model: String, _ field: String?, _ reason: String) {
        skipped.append(Skipped(model: model, field: field, reason: reason))
    }

    private static func fractionalDigits(of number: String) -> Int {
        let scale = Array(number.utf8).withUnsafeBytes { JSONNumber(whole: $0)?.exponent ?? 0 }
        return max(0, -scale)
    }

    /// The provider as LiteLLM itself names it to others: the table tells some apart by the kind of their models.
    private static func provider(_ listed: String) -> String {
        for family in ["vertex_ai", "fireworks_ai"] where listed.hasPrefix(family + "-") { return family }
        return listed == "bedrock_converse" ? "bedrock" : listed
    }
}

/// Which providers of a file are taken over, and what they are called in the price book.
package struct ProviderSelection: Sendable {
    /// Empty for all of them.
    private let names: [String: String]

    package static let all = ProviderSelection(names: [:])

    /// Those that are wanted, by their names in the file; none where all are.
    var providers: Set<String> { Set(names.keys) }

    private init(names: [String: String]) {
        self.names = names
    }

    /// Reads `openai` or `openai=azure.openai`. Nil for a text without a name.
    package init?(_ texts: [String]) {
        var names: [String: String] = [:]
        for text in texts {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let provider = parts.first, let name = parts.last, !provider.isEmpty, !name.isEmpty else {
                return nil
            }
            names[provider] = name
        }
        self.names = names
    }

    func name(for provider: String) -> String? {
        names.isEmpty ? provider : names[provider]
    }
}
