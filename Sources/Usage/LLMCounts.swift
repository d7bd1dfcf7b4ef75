/// A token count as read, with the byte offset of its value for the pointer of a fault.
struct LLMCount {
    var value: Int64 = -1
    var offset = 0

    var isStated: Bool { value >= 0 }
    var orZero: Int64 { max(value, 0) }
    var optional: Int64? { value >= 0 ? value : nil }
}

/// What is wrong with a set of counts.
struct LLMCountFault {
    let offset: Int
    let code: String
    let detail: String
}

/// The counts read from one object, `data` or its `usage`, before the conventions are reconciled. Anthropic's names
/// mark the convention in which `input_tokens` leaves cached tokens out, and that holds for the object they stand in.
struct LLMReadCounts {
    var input = LLMCount()
    var totalInput = LLMCount()
    var cached = LLMCount()
    var cacheReadBeside = LLMCount()
    var cacheWrite = LLMCount()
    var cacheCreationBeside = LLMCount()
    var output = LLMCount()
    var reasoning = LLMCount()

    /// The counts as totals and parts. `prompt_tokens` and OpenTelemetry's input tokens are totals even beside
    /// Anthropic's names: LiteLLM reports a cached Anthropic call that way.
    func resolved(_ faults: inout [LLMCountFault]) -> LLMTotals {
        var input = input
        if cacheReadBeside.isStated || cacheCreationBeside.isStated, input.isStated || !totalInput.isStated {
            if !input.isStated {
                input.offset = cacheReadBeside.isStated ? cacheReadBeside.offset : cacheCreationBeside.offset
            }
            input.value = input.orZero + cacheReadBeside.orZero + cacheCreationBeside.orZero
        }
        var totals = LLMTotals()
        totals.input = LLMTotals.same("input_tokens", input, totalInput, &faults)
        totals.cached = LLMTotals.same("cached_input_tokens", cached, cacheReadBeside, &faults)
        totals.cacheWrite = LLMTotals.same("cache_write_tokens", cacheWrite, cacheCreationBeside, &faults)
        totals.output = output
        totals.reasoning = reasoning
        return totals
    }
}

/// Token counts under our convention.
struct LLMTotals {
    var input = LLMCount()
    var cached = LLMCount()
    var cacheWrite = LLMCount()
    var output = LLMCount()
    var reasoning = LLMCount()

    static let maximum: Int64 = 1_000_000_000_000_000

    /// Joins what `data` and its `usage` object say.
    func joined(with other: LLMTotals, _ faults: inout [LLMCountFault]) -> LLMTotals {
        var totals = LLMTotals()
        totals.input = Self.same("input_tokens", input, other.input, &faults)
        totals.cached = Self.same("cached_input_tokens", cached, other.cached, &faults)
        totals.cacheWrite = Self.same("cache_write_tokens", cacheWrite, other.cacheWrite, &faults)
        totals.output = Self.same("output_tokens", output, other.output, &faults)
        totals.reasoning = Self.same("reasoning_tokens", reasoning, other.reasoning, &faults)
        return totals
    }

    /// The first part that is larger than its total, or a sum that is too large.
    var fault: LLMCountFault? {
        if input.value > Self.maximum {
            return LLMCountFault(
                offset: input.offset,
                code: "invalid_token_count",
                detail: "\"input_tokens\" with its cached tokens is \(input.value), more than 10^15"
            )
        }
        return Self.part("cached_input_tokens", cached, of: "input_tokens", input)
            ?? Self.part("cache_write_tokens", cacheWrite, of: "input_tokens", input)
            ?? cacheParts
            ?? Self.part("reasoning_tokens", reasoning, of: "output_tokens", output)
    }

    private var cacheParts: LLMCountFault? {
        guard cached.orZero + cacheWrite.orZero > input.orZero else { return nil }
        return LLMCountFault(
            offset: cacheWrite.offset,
            code: "subset_exceeds_total",
            detail:
                "\"cached_input_tokens\" (\(cached.value)) and \"cache_write_tokens\" (\(cacheWrite.value)) together "
                + "are more than \"input_tokens\" (\(input.value)), of which they are parts"
        )
    }

    private static func part(
        _ name: String,
        _ part: LLMCount,
        of totalName: String,
        _ total: LLMCount
    ) -> LLMCountFault? {
        guard part.orZero > total.orZero else { return nil }
        let detail =
            total.isStated
            ? "\"\(name)\" (\(part.value)) is larger than \"\(totalName)\" (\(total.value)), of which it is a part"
            : "\"\(name)\" (\(part.value)) is a part of \"\(totalName)\", which must be given too"
        return LLMCountFault(offset: part.offset, code: "subset_exceeds_total", detail: detail)
    }

    /// One count out of two that state the same fact.
    static func same(_ name: String, _ one: LLMCount, _ other: LLMCount, _ faults: inout [LLMCountFault]) -> LLMCount {
        guard one.isStated else { return other }
        if other.isStated, one.value != other.value {
            faults.append(
                LLMCountFault(
                    offset: max(one.offset, other.offset),
                    code: "conflicting_values",
                    detail: "\"\(name)\" is given under two names with different values: "
                        + "\(one.value) and \(other.value); send it once"
                )
            )
        }
        return one
    }
}
