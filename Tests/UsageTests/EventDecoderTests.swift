import BillingCore
import Testing

@testable import Usage

struct EventDecoderTests {
    static func event(_ data: String, extra: String = "") -> String {
        #"{"specversion":"1.0","id":"e1","source":"gw","type":"llm.completion","subject":"acme"\#(extra),"#
            + #""data":\#(data)}"#
    }

    func decode(_ text: String, _ format: EventFormat = .plain) -> DecodedBatch {
        EventDecoder().decode(Array(text.utf8), as: format)
    }

    func only(_ text: String, _ format: EventFormat = .plain) throws -> UsageEvent {
        let batch = decode(text, format)
        #expect(batch.faults == [])
        return try #require(batch.events.first)
    }

    func faults(_ text: String, _ format: EventFormat = .plain) -> [String] {
        decode(text, format).faults.map { "\($0.pointer) \($0.code)" }
    }

    func usage(_ data: String) throws -> LLMUsage { try only(Self.event(data)).usage }

    @Test func readsTheFullExample() throws {
        let event = try only(
            #"""
            { "specversion": "1.0", "id": "evt-1", "source": "gw-1", "type": "llm.completion", "subject": "acme",
              "time": "2026-11-23T08:31:00.123Z", "reservationid": "01936f3e-7b2a-7c3d-8e4f-a1b2c3d4e5f6",
              "datacontenttype": "application/json; charset=utf-8", "dataschema": "https://example.com/s",
              "traceparent": "00-ab", "sampled": true,
              "data": { "provider": "openai", "model": "gpt-4o-2024-11-20", "input_tokens": 1200,
                "cached_input_tokens": 1000, "output_tokens": 300, "reasoning_tokens": 120, "user": "u9",
                "feature": "chat", "cost_center": "cc-12",
                "request_id": "r-1", "cost": 0.00022500000000000002, "region": "eu", "n": [1, {"a": null}] } }
            """#,
            .structured
        )
        #expect(event.id == "evt-1")
        #expect(event.source == "gw-1")
        #expect(event.type == "llm.completion")
        #expect(event.subject == "acme")
        #expect(event.time == (try Instant(parsing: "2026-11-23T08:31:00.123Z")))
        #expect(event.reservationID?.description == "01936f3e-7b2a-7c3d-8e4f-a1b2c3d4e5f6")
        #expect(!event.reservationPartial)
        #expect(event.usage.provider == "openai")
        #expect(event.usage.model == "gpt-4o-2024-11-20")
        #expect(event.usage.inputTokens == 1200)
        #expect(event.usage.cachedInputTokens == 1000)
        #expect(event.usage.cacheWriteTokens == nil)
        #expect(event.usage.outputTokens == 300)
        #expect(event.usage.reasoningTokens == 120)
        #expect(event.usage.user == "u9")
        #expect(event.usage.feature == "chat")
        #expect(event.usage.costCenter == "cc-12")
        #expect(event.usage.requestID == "r-1")
        #expect(event.usage.cost?.description == "0.000225")
        #expect(event.data == #"{"region":"eu","n":[1, {"a": null}]}"#)
        let extensions =
            #"{"reservationid":"01936f3e-7b2a-7c3d-8e4f-a1b2c3d4e5f6","dataschema":"https://example.com/s","#
            + #""traceparent":"00-ab","sampled":true}"#
        #expect(event.extensions == extensions)
        #expect(event.key == EventKey(source: "gw-1", id: "evt-1"))
    }

    @Test func readsWhatLiteLLMPosts() throws {
        let event = try only(
            #"""
            {"specversion": "1.0", "type": "litellm_tokens", "id": "chatcmpl-1",
             "time": "2026-11-23T08:31:00.123456+00:00", "subject": "acme", "source": "litellm-proxy",
             "data": {"model": "gpt-4o", "cost": null, "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}
            """#,
            .structured
        )
        #expect(event.usage.inputTokens == 10)
        #expect(event.usage.outputTokens == 5)
        #expect(event.usage.cost == nil)
        #expect(event.data == #"{"total_tokens":15}"#)
        #expect(event.extensions == nil)
    }

    @Test func eachFormatTakesItsOwnShape() {
        let one = #"{"id":"1","source":"s","type":"t","subject":"a"}"#
        let full = #"{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"a"}"#
        #expect(decode(one).events.count == 1)
        #expect(decode("[\(one), \(one)]").events.count == 2)
        #expect(decode("[]").count == 0)
        #expect(decode("[]").faults == [])
        #expect(decode("[\(full)]", .batch).indexes == [0])
        #expect(faults(full, .batch) == [" not_an_array"])
        #expect(faults("[\(full)]", .structured) == [" not_an_object"])
        #expect(faults("3") == [" not_an_object"])
        #expect(faults("[\(one)]", .batch) == ["/0/specversion missing_specversion"])
        #expect(faults(one, .structured) == ["/specversion missing_specversion"])
        #expect(EventFormat(contentType: "Application/CloudEvents-Batch+JSON; charset=UTF-8") == .batch)
        #expect(EventFormat(contentType: "application/cloudevents+json") == .structured)
        #expect(EventFormat(contentType: "application/json") == .plain)
        #expect(EventFormat(contentType: "text/csv") == nil)
    }

    @Test func anEventWithoutDataHasNoneOfIt() throws {
        for data in ["null", "{}"] {
            let event = try only(Self.event(data))
            #expect(event.data == nil)
            #expect(event.usage == LLMUsage())
        }
        #expect(faults(Self.event("[1]")) == ["/data invalid_data"])
        #expect(faults(Self.event(#""x""#)) == ["/data invalid_data"])
    }

    @Test func aBadEventDoesNotHideItsNeighbours() {
        let batch = decode(
            #"""
            [{"id":"1","source":"s","type":"t","subject":"a"}, {"id":"2","source":"s","type":"t"}, 7,
             {"id":"3","source":"s","type":"t","subject":"a","data":{"output_tokens":-1}},
             {"id":"4","source":"s","type":"t","subject":"a"}]
            """#
        )
        #expect(batch.events.map(\.id) == ["1", "4"])
        #expect(batch.indexes == [0, 4])
        #expect(batch.count == 5)
        #expect(batch.faults.map(\.index) == [1, 2, 3])
        #expect(batch.faults.map(\.id) == ["2", nil, "3"])
        #expect(batch.faults.map(\.pointer) == ["/1/subject", "/2", "/3/data/output_tokens"])
        #expect(batch.faults.map(\.code) == ["missing_subject", "not_an_object", "invalid_token_count"])
        #expect(batch.bodyFault == nil)
    }

    @Test func malformedJSONIsOneFaultForTheWholeBody() {
        let good = #"{"id":"1","source":"s","type":"t","subject":"a"}"#
        for (text, pointer) in [
            ("[\(good), {\"id\": tru}]", "/1/id"), ("[\(good)", ""), ("[\(good)] x", ""), ("", ""),
            (#"{"id":"1","id":"2"}"#, "/id"), (Self.event(#"{"a":{"b":"\ud800"}}"#), "/data/a/b"),
            (Self.event(#"{"a":{"b":1,"b":2}}"#), "/data/a/b"), (Self.event(#"{"n":1e401}"#), "/data/n"),
            (Self.event(#"{"z":"\u0000"}"#), "/data/z"),
        ] {
            let batch = decode(text)
            #expect(batch.events.isEmpty)
            #expect(batch.faults.map(\.code) == ["malformed_json"])
            #expect(batch.bodyFault?.pointer == pointer, "\(text)")
        }
    }

    @Test func moreEventsThanAcceptedAreOneFault() {
        let good = #"{"id":"1","source":"s","type":"t","subject":"a"}"#
        let three = Array("[\(good),\(good),\(good)]".utf8)
        #expect(EventDecoder(maximumEvents: 3).decode(three, as: .plain).events.count == 3)
        let batch = EventDecoder(maximumEvents: 2).decode(three, as: .plain)
        #expect(batch.events.isEmpty)
        #expect(batch.bodyFault?.code == "too_many_events")
        #expect(EventDecoder().maximumEvents == 10_000)
    }

    @Test func keysAreTheSHA256OfLengthPrefixedFields() throws {
        let key = try only(#"{"id":"e\u0031","source":"gw","type":"t","subject":"acme"}"#).key
        #expect(key == EventKey(source: "gw", id: "e1"))
        #expect(key.description == "5abf10db0acd4d4277917b3b139dc3cc")
        #expect(key != EventKey(source: "gwe", id: "1"))
        #expect(key != EventKey(source: "gw", id: "e1", subject: ""))
        let event = try only(Self.event("{}"))
        #expect(event.unmatchedKey == EventKey(source: "gw", id: "e1", subject: "acme"))
        #expect(event.unmatchedKey != EventKey(source: "gw", id: "e1", subject: "acme2"))
    }

    @Test func theNormalisedJSONDecodesToTheSameEvent() throws {
        let data = #"""
            {"usage":{"input_tokens":5,"cache_read_input_tokens":7,"x":[1]},"gen_ai.system":"b","provider":"a",
             "cost":"1.5","s":"\u00e9\"\\\n","total_tokens":12}
            """#
        let event = try only(Self.event(data, extra: #","time":"2026-01-01T00:00:00.000001Z","ext":"é""#))
        let again = try only(event.json, .structured)
        #expect(again.contentHash == event.contentHash)
        #expect(again.key == event.key)
        #expect(again.usage == event.usage)
        #expect(again.time == event.time)
        #expect(again.data == event.data)
        #expect(again.extensions == event.extensions)
    }
}
