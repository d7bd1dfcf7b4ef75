/// The name of a property of events, as meters, filters and dimensions write it: a normalised LLM field under any of
/// its names, a derived class of tokens, or a path into `data` such as `request.region`. Make it once, use it for many
/// events.
package struct EventPropertyPath: Sendable, Hashable {
    package enum Target: Sendable, Hashable {
        case provider, model, user, feature, costCenter, requestID, cost
        case inputTokens, outputTokens
        case uncachedInputTokens, cachedInputTokens, cacheWriteTokens, plainOutputTokens, reasoningTokens
        /// What `data` says, or else the sum of input and output.
        case total
        case data
    }

    package let text: String
    package let target: Target

    package init(_ text: String) {
        self.text = text
        target = Self.derived(text) ?? Self.field(text) ?? .data
    }

    /// What the data handled is classified as, by the caller.
    package static let dataClass: EventPropertyPath = "data_class"

    private static func derived(_ text: String) -> Target? {
        switch text {
        case "uncached_input_tokens": .uncachedInputTokens
        case "plain_output_tokens": .plainOutputTokens
        case "total", "total_tokens", "usage.total_tokens", "gen_ai.usage.total_tokens": .total
        default: nil
        }
    }

    /// The field that a recognised member became, by the path at which it may be sent.
    private static func field(_ text: String) -> Target? {
        if let name = name(text, in: .data) {
            return target(of: name)
        }
        let isInUsage = text.hasPrefix("usage.")
        let path = isInUsage ? String(text.dropFirst(6)) : text
        if isInUsage, let name = name(path, in: .usage) {
            return target(of: name)
        }
        guard let point = path.firstIndex(of: ".") else { return nil }
        let rest = String(path[path.index(after: point)...])
        switch name(String(path[..<point]), in: .usage) {
        case .inputDetails: return name(rest, in: .inputDetails).flatMap(target)
        case .outputDetails: return name(rest, in: .outputDetails).flatMap(target)
        default: return nil
        }
    }

    private static func name(_ text: String, in place: LLMName.Place) -> LLMName? {
        Array(text.utf8).withUnsafeBytes { LLMName($0, in: place) }
    }

    private static func target(of name: LLMName) -> Target? {
        switch name {
        case .provider, .earlierProvider: .provider
        case .model, .requestedModel: .model
        case .user: .user
        case .feature: .feature
        case .costCenter: .costCenter
        case .requestID: .requestID
        case .cost: .cost
        case .inputTokens, .totalInputTokens: .inputTokens
        case .cachedInputTokens, .cacheReadBeside: .cachedInputTokens
        case .cacheWriteTokens, .cacheCreationBeside: .cacheWriteTokens
        case .outputTokens: .outputTokens
        case .reasoningTokens: .reasoningTokens
        case .usage, .inputDetails, .outputDetails: nil
        }
    }
}

extension EventPropertyPath.Target {
    /// The field's own name; nil for a path into `data`.
    package var name: String? {
        switch self {
        case .provider: "provider"
        case .model: "model"
        case .user: "user"
        case .feature: "feature"
        case .costCenter: "cost_center"
        case .requestID: "request_id"
        case .cost: "cost"
        case .inputTokens: "input_tokens"
        case .outputTokens: "output_tokens"
        case .uncachedInputTokens: "uncached_input_tokens"
        case .cachedInputTokens: "cached_input_tokens"
        case .cacheWriteTokens: "cache_write_tokens"
        case .plainOutputTokens: "plain_output_tokens"
        case .reasoningTokens: "reasoning_tokens"
        case .total: "total_tokens"
        case .data: nil
        }
    }
}

extension EventPropertyPath: ExpressibleByStringLiteral {
    package init(stringLiteral text: String) {
        self.init(text)
    }
}
