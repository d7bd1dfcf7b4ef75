import Catalog
import BillingCore
import Testing

@testable import Usage

struct EventPropertyTests {
    func event(_ data: String) throws -> UsageEvent {
        let text = EventDecoderTests.event(data)
        return try #require(EventDecoder().decode(Array(text.utf8), as: .structured).events.first)
    }

    static let full = #"""
        {"provider":"openai","model":"gpt-4o","input_tokens":100,"cached_input_tokens":40,"cache_write_tokens":10,
         "output_tokens":50,"reasoning_tokens":20,"user":"u9","feature":"chat","cost_center":"cc","request_id":"r",
         "cost":"0.1250","region":"eu","seconds":1.50e1,"text_number":"12.50","ok":true,"no":null,"list":[1],
         "a":{"b":{"c":7},"d.e":"deep"},"a.b":"dotted"}
        """#

    @Test(arguments: [
        ("provider", "openai"), ("model", "gpt-4o"), ("input_tokens", "100"), ("cached_input_tokens", "40"),
        ("cache_write_tokens", "10"), ("output_tokens", "50"), ("reasoning_tokens", "20"), ("user", "u9"),
        ("feature", "chat"), ("cost_center", "cc"), ("request_id", "r"), ("cost", "0.125"),
        ("uncached_input_tokens", "50"), ("plain_output_tokens", "30"), ("total", "150"), ("total_tokens", "150"),
        ("region", "eu"), ("seconds", "15"), ("text_number", "12.50"), ("ok", "true"), ("a.b", "dotted"),
        ("a.b.c", "7"),
        ("a.d.e", "deep"),
    ])
    func findsFieldsClassesAndPaths(_ path: String, _ text: String) throws {
        #expect(try event(Self.full).property(EventPropertyPath(path))?.text == text)
    }

    @Test(arguments: [
        ("region", "/data/region"), ("user", "/data/user"), ("a.b", "/data/a.b"), ("a.b.c", "/data/a/b/c"),
        ("a.d.e", "/data/a/d.e"), ("e~f/g.h", "/data/e~0f~1g/h"),
    ])
    func isPointedAtWhereItIsRead(_ path: String, _ pointer: String) throws {
        let event = try event(#"{"e~f/g": {"h": 1}, "# + Self.full.dropFirst())
        #expect(event.pointer(toProperty: path) == pointer)
    }

    @Test(arguments: ["no", "list", "a", "absent", "a.x", "region.x", "list.0", "", ".", "a.", "id", "usage"])
    func whatIsNoScalarIsNoProperty(_ path: String) throws {
        #expect(try event(Self.full).property(EventPropertyPath(path)) == nil)
    }

    @Test(arguments: [
        ("seconds", "15"), ("text_number", "12.5"), ("input_tokens", "100"), ("cost", "0.125"), ("total", "150"),
        ("uncached_input_tokens", "50"),
    ])
    func numbersAndDecimalStringsHaveAValue(_ path: String, _ number: String) throws {
        let event = try event(Self.full)
        #expect(event.property(EventPropertyPath(path))?.number == (try FixedDecimal(parsing: number)))
        #expect(event.number(at: EventPropertyPath(path)) == (try FixedDecimal(parsing: number)))
    }

    @Test(arguments: ["region", "ok", "model", "absent"])
    func otherPropertiesHaveNone(_ path: String) throws {
        #expect(try event(Self.full).property(EventPropertyPath(path))?.number == nil)
        #expect(try event(Self.full).number(at: EventPropertyPath(path)) == nil)
    }

    /// Every name under which a field may be sent finds it, whichever was sent.
    @Test(arguments: [
        ("prompt_tokens", "100"), ("completion_tokens", "50"), ("prompt_tokens_details.cached_tokens", "40"),
        ("prompt_tokens_details.cache_write_tokens", "10"), ("prompt_tokens_details.cache_creation_tokens", "10"),
        ("input_tokens_details.cached_tokens", "40"), ("completion_tokens_details.reasoning_tokens", "20"),
        ("output_tokens_details.reasoning_tokens", "20"), ("usage.prompt_tokens", "100"), ("usage.output_tokens", "50"),
        ("usage.prompt_tokens_details.cached_tokens", "40"), ("usage.total_tokens", "150"),
        ("cache_read_input_tokens", "40"), ("cache_creation_input_tokens", "10"), ("gen_ai.system", "openai"),
        ("gen_ai.provider.name", "openai"), ("gen_ai.request.model", "gpt-4o"), ("gen_ai.response.model", "gpt-4o"),
        ("gen_ai.usage.input_tokens", "100"), ("gen_ai.usage.output_tokens", "50"),
        ("gen_ai.usage.prompt_tokens", "100"), ("gen_ai.usage.completion_tokens", "50"),
        ("gen_ai.usage.cache_read.input_tokens", "40"), ("gen_ai.usage.cache_read_input_tokens", "40"),
        ("gen_ai.usage.cache_write.input_tokens", "10"), ("gen_ai.usage.cache_creation.input_tokens", "10"),
        ("gen_ai.usage.cache_creation_input_tokens", "10"), ("gen_ai.usage.reasoning.output_tokens", "20"),
        ("gen_ai.usage.reasoning_tokens", "20"), ("gen_ai.usage.total_tokens", "150"),
    ])
    func aliasesNameTheNormalisedField(_ path: String, _ text: String) throws {
        #expect(try event(Self.full).property(EventPropertyPath(path))?.text == text)
    }

    @Test func whatWasSentAsTotalGoesBeforeTheSum() throws {
        let event = try event(#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":99}"#)
        #expect(event.property("total_tokens")?.text == "99")
        #expect(event.number(at: EventPropertyPath("total_tokens")) == FixedDecimal(99))
        #expect(event.property("total")?.text == "15")
    }

    @Test func theClassesOfATotalExistWhereItDoes() throws {
        let input = try event(#"{"input_tokens":5}"#)
        #expect(input.property("uncached_input_tokens")?.text == "5")
        #expect(input.property("cached_input_tokens")?.text == "0")
        #expect(input.property("cache_write_tokens")?.text == "0")
        #expect(input.property("plain_output_tokens") == nil)
        #expect(input.property("reasoning_tokens") == nil)
        #expect(input.property("total")?.text == "5")
        let none = try event(#"{"a":1}"#)
        for name in ["input_tokens", "uncached_input_tokens", "cached_input_tokens", "output_tokens", "total", "cost"] {
            #expect(none.property(EventPropertyPath(name)) == nil)
        }
    }

    @Test(arguments: [
        (["1", "1.0", "1e0", "10e-1", "100E-2"], "1"), (["0", "-0", "0.00", "0e5"], "0"),
        (["-1.50", "-15e-1"], "-1.5"),
        (["1e3", "1000", "1000.0"], "1000"), (["0.001", "1e-3", "10e-4"], "0.001"),
        (
            ["123456789012345678901234567890.5", "1234567890123456789012345678905e-1"],
            "123456789012345678901234567890.5"
        ),
        (["1e-20", "0.00000000000000000001"], "0.00000000000000000001"),
    ])
    func theTextOfANumberDoesNotDependOnItsSpelling(_ spellings: [String], _ text: String) throws {
        for spelling in spellings {
            #expect(try event(#"{"n":\#(spelling)}"#).property("n")?.text == text)
        }
    }

    @Test func worksOnTheTextThatPostgreSQLGivesBack() throws {
        func stored(_ data: String) -> UsageEvent {
            UsageEvent(
                source: "s",
                id: "1",
                type: "t",
                subject: "u",
                data: data,
                key: EventKey(source: "s", id: "1"),
                contentHash: 0
            )
        }
        let written = try #require(try event(#"{"n":1e400,"s":{"t":"x"}}"#).property("n"))
        let read = stored(#"{"n": 1\#(String(repeating: "0", count: 400)), "s": {"t": "x"}}"#)
        #expect(read.property("n") == written)
        #expect(read.property("s.t")?.text == "x")
        #expect(written.number == nil)
        let tiny = "0." + String(repeating: "0", count: 399) + String(repeating: "1", count: 390)
        #expect(stored(#"{"n": \#(tiny)}"#).property("n")?.text == tiny)
    }
}
