import Web

/// What a member of `data` says, whichever of its names it goes by: our own, those of OpenAI and LiteLLM, those of
/// Anthropic, and the attributes of OpenTelemetry's GenAI conventions with their predecessors.
package enum LLMName: Sendable {
    case provider, model, user, feature, costCenter, requestID, cost
    /// `gen_ai.system` and `gen_ai.request.model`: they stand in where the provider and the answering model are absent,
    /// but need not equal them.
    case earlierProvider, requestedModel
    /// `input_tokens`: a total, except beside Anthropic's names.
    case inputTokens
    /// A name that always means the total.
    case totalInputTokens
    case cachedInputTokens, cacheWriteTokens
    /// Anthropic's names: tokens that its `input_tokens` leaves out.
    case cacheReadBeside, cacheCreationBeside
    case outputTokens, reasoningTokens
    /// Objects that hold such members.
    case usage, inputDetails, outputDetails

    /// The object in which a member stands.
    package enum Place: Sendable {
        case data, usage, inputDetails, outputDetails
    }

    package init?(_ name: UnsafeRawBufferPointer, in place: Place) {
        let found: LLMName? =
            switch place {
            case .data: Self.count(name) ?? Self.label(name) ?? Self.telemetry(name)
            case .usage: Self.count(name)
            case .inputDetails: Self.inputDetail(name)
            case .outputDetails: JSONScanner.equal(name, "reasoning_tokens") ? .reasoningTokens : nil
            }
        guard let found else { return nil }
        self = found
    }

    private static func label(_ name: UnsafeRawBufferPointer) -> LLMName? {
        func has(_ word: StaticString) -> Bool { JSONScanner.equal(name, word) }
        switch name.count {
        case 4: return has("user") ? .user : has("cost") ? .cost : nil
        case 5: return has("model") ? .model : has("usage") ? .usage : nil
        case 7: return has("feature") ? .feature : nil
        case 8: return has("provider") ? .provider : nil
        case 10: return has("request_id") ? .requestID : nil
        case 11: return has("cost_center") ? .costCenter : nil
        default: return nil
        }
    }

    private static func count(_ name: UnsafeRawBufferPointer) -> LLMName? {
        func has(_ word: StaticString) -> Bool { JSONScanner.equal(name, word) }
        switch name.count {
        case 12: return has("input_tokens") ? .inputTokens : nil
        case 13: return has("output_tokens") ? .outputTokens : has("prompt_tokens") ? .totalInputTokens : nil
        case 16: return has("reasoning_tokens") ? .reasoningTokens : nil
        case 17: return has("completion_tokens") ? .outputTokens : nil
        case 18: return has("cache_write_tokens") ? .cacheWriteTokens : nil
        case 19: return has("cached_input_tokens") ? .cachedInputTokens : nil
        case 20: return has("input_tokens_details") ? .inputDetails : nil
        case 21:
            return has("prompt_tokens_details") ? .inputDetails : has("output_tokens_details") ? .outputDetails : nil
        case 23: return has("cache_read_input_tokens") ? .cacheReadBeside : nil
        case 25: return has("completion_tokens_details") ? .outputDetails : nil
        case 27: return has("cache_creation_input_tokens") ? .cacheCreationBeside : nil
        default: return nil
        }
    }

    private static func inputDetail(_ name: UnsafeRawBufferPointer) -> LLMName? {
        func has(_ word: StaticString) -> Bool { JSONScanner.equal(name, word) }
        switch name.count {
        case 13: return has("cached_tokens") ? .cachedInputTokens : nil
        case 18: return has("cache_write_tokens") ? .cacheWriteTokens : nil
        case 21: return has("cache_creation_tokens") ? .cacheWriteTokens : nil
        default: return nil
        }
    }

    private static func telemetry(_ name: UnsafeRawBufferPointer) -> LLMName? {
        guard name.count > 12, JSONScanner.equal(UnsafeRawBufferPointer(rebasing: name[..<7]), "gen_ai.") else {
            return nil
        }
        let rest = UnsafeRawBufferPointer(rebasing: name[7...])
        func has(_ word: StaticString) -> Bool { JSONScanner.equal(rest, word) }
        switch rest.count {
        case 6: return has("system") ? .earlierProvider : nil
        case 13: return has("provider.name") ? .provider : has("request.model") ? .requestedModel : nil
        case 14: return has("response.model") ? .model : nil
        case 18: return has("usage.input_tokens") ? .totalInputTokens : nil
        case 19:
            return has("usage.output_tokens") ? .outputTokens : has("usage.prompt_tokens") ? .totalInputTokens : nil
        case 22: return has("usage.reasoning_tokens") ? .reasoningTokens : nil
        case 23: return has("usage.completion_tokens") ? .outputTokens : nil
        case 29:
            let isCacheRead = has("usage.cache_read.input_tokens") || has("usage.cache_read_input_tokens")
            return isCacheRead ? .cachedInputTokens : has("usage.reasoning.output_tokens") ? .reasoningTokens : nil
        case 30: return has("usage.cache_write.input_tokens") ? .cacheWriteTokens : nil
        case 33:
            let isCreation = has("usage.cache_creation.input_tokens") || has("usage.cache_creation_input_tokens")
            return isCreation ? .cacheWriteTokens : nil
        default: return nil
        }
    }
}
