/// The tokens of an LLM call in disjoint classes, from the totals and subsets that gateways report.
///
/// `input` and `output` are totals. Cached input and cache writes are subsets of the input and disjoint of each other,
/// reasoning is a subset of the output. The five classes add up to the two totals.
@usableFromInline
package struct TokenClasses: Sendable, Hashable {
    @usableFromInline package let uncachedInput: Int64
    @usableFromInline package let cachedInput: Int64
    @usableFromInline package let cacheWrite: Int64
    @usableFromInline package let plainOutput: Int64
    @usableFromInline package let reasoning: Int64

    /// Throws the first fault in the order of the parameters: a negative count, or a subset larger than what is left of
    /// its total.
    @inlinable
    package init(
        input: Int64,
        cachedInput: Int64,
        cacheWrite: Int64,
        output: Int64,
        reasoning: Int64
    ) throws(TokenClassFault) {
        guard input >= 0 else { throw TokenClassFault(field: .input, reason: .negative) }
        guard cachedInput >= 0 else { throw TokenClassFault(field: .cachedInput, reason: .negative) }
        guard cachedInput <= input else { throw TokenClassFault(field: .cachedInput, reason: .exceedsTotal) }
        guard cacheWrite >= 0 else { throw TokenClassFault(field: .cacheWrite, reason: .negative) }
        guard cacheWrite <= input &- cachedInput else {
            throw TokenClassFault(field: .cacheWrite, reason: .exceedsTotal)
        }
        guard output >= 0 else { throw TokenClassFault(field: .output, reason: .negative) }
        guard reasoning >= 0 else { throw TokenClassFault(field: .reasoning, reason: .negative) }
        guard reasoning <= output else { throw TokenClassFault(field: .reasoning, reason: .exceedsTotal) }
        uncachedInput = input &- cachedInput &- cacheWrite
        self.cachedInput = cachedInput
        self.cacheWrite = cacheWrite
        plainOutput = output &- reasoning
        self.reasoning = reasoning
    }

    /// The total: uncached, cached and cache-write tokens together.
    @inlinable package var input: Int64 { uncachedInput &+ cachedInput &+ cacheWrite }
    /// The total: plain and reasoning tokens together.
    @inlinable package var output: Int64 { plainOutput &+ reasoning }
}

/// Why token counts contradict each other, and which field says so.
@usableFromInline
package struct TokenClassFault: Error, Sendable, Hashable {
    /// A field of an event's data, by its normalised name.
    @usableFromInline
    package enum Field: String, Sendable, Hashable {
        case input = "input_tokens"
        case cachedInput = "cached_input_tokens"
        case cacheWrite = "cache_write_tokens"
        case output = "output_tokens"
        case reasoning = "reasoning_tokens"
    }

    @usableFromInline
    package enum Reason: Sendable, Hashable {
        case negative
        /// The subset, together with the subsets before it, is larger than its total.
        case exceedsTotal
    }

    package let field: Field
    package let reason: Reason

    @usableFromInline
    package init(field: Field, reason: Reason) {
        self.field = field
        self.reason = reason
    }
}
