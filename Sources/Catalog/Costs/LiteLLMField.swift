import BillingCore
import Web

/// One field of a model in LiteLLM's table that has to do with prices.
enum LiteLLMField {
    /// A price, with its number as written.
    case price(field: String, component: CostComponent, aboveInputTokens: Int64, number: String)
    case unusable(field: String, reason: String)

    /// The prices among a model's fields.
    static func all(of fields: [JSONMember]) -> [LiteLLMField] {
        let names = Set(fields.map(\.name))
        return fields.flatMap { field -> [LiteLLMField] in
            if field.name == "tiered_pricing" { return tiers(field.value) }
            guard field.name.contains("cost") || field.name.contains("pricing") else { return [] }
            if field.name == "input_cost_per_token_cache_hit", names.contains("cache_read_input_token_cost") {
                return []
            }
            return [price(field.name, field.value)]
        }
    }

    private static let components: [String: CostComponent] = [
        "input_cost_per_token": .input,
        "output_cost_per_token": .output,
        "cache_read_input_token_cost": .cachedInput,
        "input_cost_per_token_cache_hit": .cachedInput,
        "cache_creation_input_token_cost": .cacheWrite,
        "output_cost_per_reasoning_token": .reasoning,
        "input_cost_per_audio_token": .inputAudio,
        "output_cost_per_audio_token": .outputAudio,
        "input_cost_per_image_token": .inputImage,
        "output_cost_per_image_token": .outputImage,
        "input_cost_per_request": .request,
        "input_cost_per_image": .inputImages,
        "output_cost_per_image": .outputImages,
        "input_cost_per_second": .inputSeconds,
        "output_cost_per_second": .outputSeconds,
        "input_cost_per_character": .inputCharacters,
        "output_cost_per_character": .outputCharacters,
        "input_cost_per_query": .queries,
        "ocr_cost_per_page": .pages,
    ]

    private static let serviceTiers = ["batches", "priority", "flex", "balanced", "ultrafast", "decisions"]

    private static func price(_ field: String, _ value: JSONValue) -> LiteLLMField {
        if serviceTiers.contains(where: { field.hasSuffix("_" + $0) }) {
            return .unusable(field: field, reason: "a price of a service tier, which events don't tell")
        }
        if field.contains("_above_1hr") {
            return .unusable(field: field, reason: "a price by the life of a cache entry, which events don't tell")
        }
        let (base, threshold) = threshold(field)
        guard let component = components[base], threshold == 0 || component.isTokenClass else {
            return .unusable(field: field, reason: "not a unit that events tell")
        }
        guard case .number(let number) = value else {
            return .unusable(field: field, reason: "\(value.kindName), not a number")
        }
        return .price(field: field, component: component, aboveInputTokens: threshold, number: number)
    }

    /// `input_cost_per_token_above_200k_tokens` is `input_cost_per_token` above 200,000 tokens.
    private static func threshold(_ field: String) -> (base: String, tokens: Int64) {
        guard let range = field.firstRange(of: "_above_"), field.hasSuffix("k_tokens"),
            let thousands = Int64(field[range.upperBound...].dropLast("k_tokens".count)), thousands > 0,
            thousands <= 1_000_000_000
        else { return (field, 0) }
        return (String(field[..<range.lowerBound]), thousands * 1_000)
    }

    /// `tiered_pricing`: prices by ranges of input tokens.
    private static func tiers(_ value: JSONValue) -> [LiteLLMField] {
        let field = "tiered_pricing"
        guard case .array(let tiers) = value else { return [.unusable(field: field, reason: "not a list of tiers")] }
        return tiers.flatMap { tier -> [LiteLLMField] in
            guard case .object(let members) = tier, let start = start(of: tier) else {
                return [.unusable(field: field, reason: "a tier without a range of whole tokens")]
            }
            return members.filter { $0.name != "range" }.map { member in
                switch price(member.name, member.value) {
                case .price(_, let component, 0, let number):
                    .price(field: field, component: component, aboveInputTokens: start, number: number)
                case .price: .unusable(field: field, reason: "a tier within a tier")
                case .unusable(let name, let reason): .unusable(field: "\(field).\(name)", reason: reason)
                }
            }
        }
    }

    private static func start(of tier: JSONValue) -> Int64? {
        guard case .array(let bounds)? = tier["range"], case .number(let text)? = bounds.first else { return nil }
        return Array(text.utf8).withUnsafeBytes { JSONNumber(whole: $0)?.integer }
    }
}
