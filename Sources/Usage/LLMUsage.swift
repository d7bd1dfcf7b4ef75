package import BillingCore

/// The normalised LLM fields of an event; nil is not stated. `inputTokens` and `outputTokens` are totals: cached and
/// cache-write tokens are parts of the first, reasoning tokens of the second.
package struct LLMUsage: Sendable, Hashable {
    package var provider: String?
    package var model: String?
    package var inputTokens: Int64?
    package var cachedInputTokens: Int64?
    package var cacheWriteTokens: Int64?
    package var outputTokens: Int64?
    package var reasoningTokens: Int64?
    package var user: String?
    package var feature: String?
    package var costCenter: String?
    package var requestID: String?
    /// What the sender says the provider charges.
    package var cost: FixedDecimal?

    package init() {}

    /// The disjoint classes of the tokens, what is not stated being zero; nil when a part is larger than its total,
    /// which no decoded event has.
    package var tokenClasses: TokenClasses? {
        try? TokenClasses(
            input: inputTokens ?? 0,
            cachedInput: cachedInputTokens ?? 0,
            cacheWrite: cacheWriteTokens ?? 0,
            output: outputTokens ?? 0,
            reasoning: reasoningTokens ?? 0
        )
    }
}
