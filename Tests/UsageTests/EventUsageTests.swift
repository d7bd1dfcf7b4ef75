import BillingCore
import Testing

@testable import Usage

/// The LLM fields of events under every family of names.
struct EventUsageTests {
    func decode(_ data: String) -> DecodedBatch {
        EventDecoder().decode(Array(EventDecoderTests.event(data).utf8), as: .structured)
    }

    func faults(_ data: String) -> [String] {
        decode(data).faults.map { "\($0.pointer) \($0.code)" }
    }

    /// Input, cached, cache write, output and reasoning tokens, "-" for those not stated.
    func counts(_ data: String) throws -> String {
        let batch = decode(data)
        #expect(batch.faults == [])
        let usage = try #require(batch.events.first).usage
        let counts = [
            usage.inputTokens, usage.cachedInputTokens, usage.cacheWriteTokens, usage.outputTokens,
            usage.reasoningTokens,
        ]
        return counts.map { $0.map(String.init) ?? "-" }.joined(separator: " ")
    }

    static let canonical = #"""
        {"input_tokens":100,"cached_input_tokens":40,"cache_write_tokens":10,"output_tokens":50,"reasoning_tokens":20}
        """#

    static let families: [String] = [
        canonical,
        #"""
        {"prompt_tokens":100,"completion_tokens":50,
         "prompt_tokens_details":{"cached_tokens":40,"cache_creation_tokens":10},
         "completion_tokens_details":{"reasoning_tokens":20}}
        """#,
        #"""
        {"usage":{"prompt_tokens":100,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":40,
         "cache_write_tokens":10},"completion_tokens_details":{"reasoning_tokens":20}}}
        """#,
        #"""
        {"usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":40},"output_tokens":50,
         "output_tokens_details":{"reasoning_tokens":20}},"cache_write_tokens":10}
        """#,
        #"""
        {"gen_ai.usage.input_tokens":100,"gen_ai.usage.output_tokens":50,"gen_ai.usage.cache_read.input_tokens":40,
         "gen_ai.usage.cache_creation.input_tokens":10,"gen_ai.usage.reasoning.output_tokens":20}
        """#,
        #"""
        {"gen_ai.usage.prompt_tokens":100,"gen_ai.usage.completion_tokens":50,"gen_ai.usage.cache_read_input_tokens":40,
         "gen_ai.usage.cache_creation_input_tokens":10,"gen_ai.usage.reasoning_tokens":20}
        """#,
        #"""
        {"input_tokens":50,"cache_read_input_tokens":40,"cache_creation_input_tokens":10,"output_tokens":50,
         "reasoning_tokens":20}
        """#,
        #"""
        {"usage":{"input_tokens":50,"cache_read_input_tokens":40,"cache_creation_input_tokens":10,"output_tokens":50},
         "reasoning_tokens":20}
        """#,
        #"""
        {"prompt_tokens":100,"completion_tokens":50,"cache_read_input_tokens":40,"cache_creation_input_tokens":10,
         "prompt_tokens_details":{"cached_tokens":40},"reasoning_tokens":20}
        """#,
        #"""
        {"input_tokens":100,"output_tokens":50,"reasoning_tokens":20,
         "usage":{"input_tokens":50,"cache_read_input_tokens":40,"cache_creation_input_tokens":10,"output_tokens":50}}
        """#,
        #"""
        {"input_tokens":"100","cached_input_tokens":4e1,"cache_write_tokens":10.0,"output_tokens":"5e1",
         "reasoning_tokens":20,"prompt_tokens":null,"usage":null,"prompt_tokens_details":null}
        """#,
    ]

    @Test(arguments: families)
    func everyFamilyOfNamesGivesTheSameCountsAndHash(_ data: String) throws {
        #expect(try counts(data) == "100 40 10 50 20")
        let event = try #require(decode(data).events.first)
        #expect(event.data == nil)
        #expect(event.contentHash == decode(Self.canonical).events.first?.contentHash)
    }

    @Test func whatIsNotRecognisedInNestedObjectsRemains() throws {
        let data = #"""
            {"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":1,"audio_tokens":2},"tier":"x"},
             "usage_b":1}
            """#
        let event = try #require(decode(data).events.first)
        #expect(event.data == #"{"usage":{"prompt_tokens_details":{"audio_tokens":2},"tier":"x"},"usage_b":1}"#)
        #expect(event.usage.cachedInputTokens == 1)
        #expect(try #require(decode(#"{"usage":12}"#).events.first).data == #"{"usage":12}"#)
    }

    @Test func anthropicInputCountsWithoutItsOwnTotal() throws {
        #expect(try counts(#"{"cache_read_input_tokens":40}"#) == "40 40 - - -")
        #expect(try counts(#"{"input_tokens":5,"cache_read_input_tokens":0}"#) == "5 0 - - -")
        #expect(try counts(#"{"input_tokens":5,"cache_read_input_tokens":null}"#) == "5 - - - -")
    }

    @Test func labelsHaveTelemetryNames() throws {
        let data =
            #"{"gen_ai.provider.name":"openai","gen_ai.response.model":"gpt-4o-1","gen_ai.request.model":"gpt-4o"}"#
        let event = try #require(decode(data).events.first)
        #expect(event.usage.provider == "openai")
        #expect(event.usage.model == "gpt-4o-1")
        #expect(event.data == #"{"gen_ai.request.model":"gpt-4o"}"#)
        let earlier = try #require(decode(#"{"gen_ai.system":"openai","gen_ai.request.model":"m"}"#).events.first)
        #expect(earlier.usage.provider == "openai")
        #expect(earlier.usage.model == "m")
        #expect(earlier.data == nil)
        let same = try #require(decode(#"{"model":"m","gen_ai.request.model":"\u006d"}"#).events.first)
        #expect(same.data == nil)
        #expect(try #require(decode(#"{"user":"","model":null}"#).events.first).usage == LLMUsage())
    }

    @Test(arguments: [
        (#"{"input_tokens":1,"prompt_tokens":2}"#, "/data/prompt_tokens conflicting_values"),
        (#"{"prompt_tokens":2,"gen_ai.usage.input_tokens":3}"#, "/data/gen_ai.usage.input_tokens conflicting_values"),
        (#"{"output_tokens":2,"usage":{"completion_tokens":3}}"#, "/data/usage/completion_tokens conflicting_values"),
        (
            #"{"input_tokens":9,"cached_input_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}"#,
            "/data/prompt_tokens_details/cached_tokens conflicting_values"
        ),
        (#"{"model":"a","gen_ai.response.model":"b"}"#, "/data/gen_ai.response.model conflicting_values"),
        (#"{"provider":"a","gen_ai.provider.name":"b"}"#, "/data/gen_ai.provider.name conflicting_values"),
        (#"{"input_tokens":9,"cached_input_tokens":10}"#, "/data/cached_input_tokens subset_exceeds_total"),
        (#"{"cached_input_tokens":1}"#, "/data/cached_input_tokens subset_exceeds_total"),
        (#"{"input_tokens":9,"cache_write_tokens":10}"#, "/data/cache_write_tokens subset_exceeds_total"),
        (
            #"{"cache_write_tokens":5,"input_tokens":9,"cached_input_tokens":5}"#,
            "/data/cache_write_tokens subset_exceeds_total"
        ),
        (#"{"output_tokens":1,"reasoning_tokens":2}"#, "/data/reasoning_tokens subset_exceeds_total"),
        (
            #"{"usage":{"completion_tokens":1,"completion_tokens_details":{"reasoning_tokens":2}}}"#,
            "/data/usage/completion_tokens_details/reasoning_tokens subset_exceeds_total"
        ),
        (#"{"input_tokens":1.5}"#, "/data/input_tokens invalid_token_count"),
        (#"{"input_tokens":0.0000000000001}"#, "/data/input_tokens invalid_token_count"),
        (#"{"input_tokens":-1}"#, "/data/input_tokens invalid_token_count"),
        (#"{"input_tokens":"1 "}"#, "/data/input_tokens invalid_token_count"),
        (#"{"input_tokens":""}"#, "/data/input_tokens invalid_token_count"),
        (#"{"input_tokens":true}"#, "/data/input_tokens invalid_token_count"),
        (#"{"input_tokens":[1]}"#, "/data/input_tokens invalid_token_count"),
        (#"{"input_tokens":1000000000000001}"#, "/data/input_tokens invalid_token_count"),
        (#"{"input_tokens":18446744073709551617}"#, "/data/input_tokens invalid_token_count"),
        (#"{"input_tokens":1e300}"#, "/data/input_tokens invalid_token_count"),
        (
            #"{"input_tokens":1000000000000000,"cache_read_input_tokens":1}"#,
            "/data/input_tokens invalid_token_count"
        ),
        (#"{"cost":-0.01}"#, "/data/cost invalid_cost"),
        (#"{"cost":"1,5"}"#, "/data/cost invalid_cost"),
        (#"{"cost":1e26}"#, "/data/cost invalid_cost"),
        (#"{"cost":{}}"#, "/data/cost invalid_cost"),
        (#"{"user":42}"#, "/data/user invalid_type"),
        (#"{"model":{"a":1}}"#, "/data/model invalid_type"),
    ])
    func rejectsWithThePointer(_ data: String, _ fault: String) {
        #expect(faults(data) == [fault])
    }

    @Test func acceptsTheBounds() throws {
        #expect(try counts(#"{"input_tokens":1000000000000000,"output_tokens":-0}"#) == "1000000000000000 - - 0 -")
        #expect(
            try counts(#"{"input_tokens":1e15,"cached_input_tokens":1e15}"#)
                == "1000000000000000 1000000000000000 - - -"
        )
        let cost = decode(#"{"cost":"99999999999999999999999999.999999999999"}"#).events.first?.usage.cost
        #expect(cost?.description == "99999999999999999999999999.999999999999")
        #expect(decode(#"{"cost":1.25e-3}"#).events.first?.usage.cost?.description == "0.00125")
    }
}
