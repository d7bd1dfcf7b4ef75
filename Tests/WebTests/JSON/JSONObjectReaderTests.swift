import BillingCore
import Testing
import Web

struct JSONObjectReaderTests {
    enum Mode: String, CaseIterable { case hard, soft }

    func faults(_ text: String, _ read: (JSONObjectReader) -> Void) throws -> [FieldFault] {
        let fields = JSONObjectReader(try JSONValue(parsing: text))
        read(fields)
        do {
            try fields.finish()
            return []
        } catch {
            return error.faults
        }
    }

    @Test func readsAGoodBody() throws {
        let text = #"""
            {"key": "pro", "name": "Pro \u00e9", "mode": "soft", "interval": 3, "active": false, "amount": "12.50",
             "starts_at": "2026-11-23T08:31:00Z", "subjects": ["a", "b"], "metadata": {"b": 1.0, "a": [null]},
             "dimensions": {"model": "model"}, "tiers": [{"up_to": "10"}, {"up_to": null}], "value": {"n": 1},
             "note": null}
            """#
        let fields = JSONObjectReader(try JSONValue(parsing: text))
        #expect(fields.key("key") == "pro")
        #expect(fields.string("name") == "Pro é")
        #expect(fields.choice("mode", default: Mode.hard) == .soft)
        #expect(fields.integer("interval", in: 1...12) == 3)
        #expect(fields.bool("active") == false)
        #expect(fields.decimal("amount", minimum: .zero).description == "12.5")
        #expect(fields.instant("starts_at") == (try Instant(parsing: "2026-11-23T08:31:00Z")))
        #expect(fields.strings("subjects") == ["a", "b"])
        #expect(fields.metadata("metadata") == #"{"b":1.0,"a":[null]}"#)
        #expect(fields.stringMap("dimensions").map(\.name) == ["model"])
        #expect(fields.objects("tiers") { $0.optionalDecimal("up_to")?.description } == ["10", nil])
        #expect(fields.object("value") { $0.integer("n", in: 0...5) } == 1)
        #expect(fields.optionalString("note") == nil)
        #expect(fields.value("zone", default: 7, expecting: "a number") { Int($0) } == 7)
        try fields.finish()
    }

    @Test func collectsEveryFaultWithItsPointer() throws {
        let text = #"""
            {"key": "Not A Key", "amount": 5, "interval": 1.5, "tiers": [{"up_to": "1"}, {"up_to": "x", "a/b~c": 1}, 3],
             "value": {}, "subjects": ["a", 1, "a"], "typo": 1, "mode": "loud", "at": "yesterday", "zone": "Mars"}
            """#
        let found = try faults(text) { fields in
            _ = fields.key("key")
            _ = fields.string("name")
            _ = fields.decimal("amount")
            _ = fields.integer("interval", in: 1...12)
            _ = fields.objects("tiers") { $0.decimal("up_to") }
            _ = fields.object("value") { $0.bool("n") }
            _ = fields.strings("subjects")
            _ = fields.choice("mode", of: Mode.self)
            _ = fields.instant("at")
            _ = fields.value("zone", expecting: "an IANA time zone") { _ in Int?.none }
            fields.fault(at: "tiers/0/up_to", code: "tiers_not_ascending", detail: "must ascend")
        }
        let expected = [
            "/key invalid_key", "/name required", "/amount invalid_type", "/interval out_of_range",
            "/tiers/1/up_to invalid_format", "/tiers/1/a~1b~0c unknown_field", "/tiers/2 invalid_type",
            "/value/n required", "/subjects/1 invalid_element", "/subjects/2 duplicate", "/mode invalid_value",
            "/at invalid_format", "/zone invalid_value", "/tiers/0/up_to tiers_not_ascending", "/typo unknown_field",
        ]
        #expect(found.map { "\($0.pointer) \($0.code)" } == expected)
        #expect(found[2].detail == #""amount" must be a decimal string such as "12.50", not a number"#)
        #expect(found[10].detail == #""mode" must be one of "hard", "soft""#)
    }

    @Test func aBodyThatIsNoObjectIsOneFaultAtTheRoot() throws {
        let found = try faults("[1]") { _ = $0.optionalString("name") }
        #expect(found.map(\.pointer) == [""])
        #expect(found.map(\.code) == ["invalid_type"])
    }

    @Test func tellsAHundredFaultsAtMost() throws {
        let members = (0..<20_000).map { "\"n\($0)\":0" }.joined(separator: ",")
        #expect(try faults("{\(members)}") { _ = $0.optionalString("name") }.count == 100)
    }

    @Test func boundsAreInclusiveAndNamed() throws {
        func codes(_ body: String, _ read: (JSONObjectReader) -> Void) throws -> [String] {
            try faults(body, read).map(\.code)
        }
        #expect(try codes(#"{"n": 12}"#) { _ = $0.integer("n", in: 1...12) } == [])
        #expect(try codes(#"{"n": 13}"#) { _ = $0.integer("n", in: 1...12) } == ["out_of_range"])
        #expect(try codes(#"{"n": 1e30}"#) { _ = $0.integer("n", in: 1...12) } == ["out_of_range"])
        #expect(try codes(#"{"n": 300}"#) { _ = $0.integer("n", in: UInt8.min...UInt8.max) } == ["out_of_range"])
        #expect(try codes(#"{"d": "0"}"#) { _ = $0.decimal("d", minimum: .zero) } == [])
        #expect(try codes(#"{"d": "-0.01"}"#) { _ = $0.decimal("d", minimum: .zero) } == ["out_of_range"])
        #expect(try codes(#"{"d": "2"}"#) { _ = $0.decimal("d", maximum: .one) } == ["out_of_range"])
        #expect(try codes(#"{"d": "0.0000000000001"}"#) { _ = $0.decimal("d") } == ["out_of_range"])
        #expect(try codes(#"{"d": "100000000000000000000000000"}"#) { _ = $0.decimal("d") } == ["out_of_range"])
        #expect(try codes(#"{"s": "ab"}"#) { _ = $0.string("s", maximumLength: 1) } == ["too_long"])
        // As JSON Schema counts them: marks of one letter are characters of their own.
        #expect(try codes(#"{"s": "e\u0301"}"#) { _ = $0.string("s", maximumLength: 1) } == ["too_long"])
        #expect(try codes(#"{"s": ["e\u0301"]}"#) { _ = $0.strings("s", maximumLength: 1) } == ["invalid_element"])
        #expect(try codes(#"{"s": ""}"#) { _ = $0.string("s") } == ["too_short"])
        #expect(try codes(#"{"a": []}"#) { _ = $0.objects("a", minimumCount: 1) { _ in 1 } } == ["too_few"])
        #expect(try codes(#"{"a": [1, 2]}"#) { _ = $0.objects("a", maximumCount: 1) { _ in 1 } } == ["too_many"])
        #expect(try codes(#"{"m": {"a": "long"}}"#) { _ = $0.metadata("m", maximumBytes: 4) } == ["too_long"])
    }

    @Test(arguments: ["a", "0", "a.b_c-d", String(repeating: "k", count: 63)])
    func acceptsResourceKeys(_ key: String) {
        #expect(ResourceKey.isValid(key))
    }

    @Test(arguments: ["", "A", "-a", ".a", "a b", "é", String(repeating: "k", count: 64), "a/b"])
    func refusesOtherKeys(_ key: String) {
        #expect(!ResourceKey.isValid(key))
    }
}
