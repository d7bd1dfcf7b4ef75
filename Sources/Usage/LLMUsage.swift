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
    /// Of a call that may use fewer output tokens than it asked for, how many of them can be plain; nil for all else.
    /// Its reasoning tokens are as many as they can be too: both together may be more than `outputTokens`.
    package var plainOutputAtMost: Int64?
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

    /// The same with no more output tokens than these, whichever of those that were asked for they are.
    func shortened(toOutput tokens: Int64) -> LLMUsage {
        var usage = self
        usage.outputTokens = tokens
        usage.reasoningTokens = reasoningTokens.map { min($0, tokens) }
        usage.plainOutputAtMost = min(tokenClasses?.plainOutput ?? tokens, tokens)
        return usage
    }

    /// By how much the classes of the output come to more than `outputTokens`.
    var outputClassesBeyondTotal: Int64 {
        guard let plain = plainOutputAtMost, let outputTokens else { return 0 }
        return max(0, (reasoningTokens ?? 0) - (outputTokens - plain))
    }
}
