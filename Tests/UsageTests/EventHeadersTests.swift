import Testing

@testable import Usage

struct EventHeadersTests {
    let attributes = [
        ("ce-specversion", "1.0"), ("ce-id", "e1"), ("CE-Source", "gw"), ("ce-type", "llm.completion"),
        ("ce-subject", "acme"),
    ]

    func decode(_ headers: [(String, String)], _ body: String, contentType: String? = "application/json")
        -> DecodedBatch
    {
        let pairs = headers.map { (name: $0.0, value: $0.1) }
        return Array(body.utf8).withUnsafeBytes {
            EventDecoder().decode(headers: pairs, contentType: contentType, body: $0)
        }
    }

    func faults(_ headers: [(String, String)], _ body: String = "", contentType: String? = nil) -> [String] {
        decode(attributes + headers, body, contentType: contentType).faults.map { "\($0.pointer) \($0.code)" }
    }

    @Test func givesTheSameEventAsStructuredMode() throws {
        let extra = [("ce-traceparent", "00-ab"), ("ce-reservationpartial", "true"), ("x-other", "1")]
        let batch = decode(attributes + extra, #"{"input_tokens": 3, "a": 1}"#)
        #expect(batch.faults == [])
        let binary = try #require(batch.events.first)
        let text = EventDecoderTests.event(
            #"{"input_tokens": 3, "a": 1}"#,
            extra: #","traceparent":"00-ab","reservationpartial":true"#
        )
        let structured = try #require(EventDecoder().decode(Array(text.utf8), as: .structured).events.first)
        #expect(binary.contentHash == structured.contentHash)
        #expect(binary.key == structured.key)
        #expect(binary.usage == structured.usage)
        #expect(binary.data == #"{"a":1}"#)
        #expect(binary.reservationPartial)
    }

    @Test(arguments: [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"), (#""a b\"c""#, #"a b"c"#), ("a%2525", "a%25"),
        ("plain", "plain"),
    ])
    func valuesAreUnquotedThenPercentDecodedOnce(_ value: String, _ expected: String) {
        let events = decode(attributes.dropLast() + [("ce-subject", value)], "").events
        #expect(events.map(\.subject) == [expected])
    }

    @Test(arguments: ["%C0%A0", "%", "%4", "%zz", "%00", "a%0Ab", "%ED%A0%80"])
    func valuesThatAreNotUTF8TextAreFaults(_ value: String) {
        #expect(faults([("ce-ext", value)]) == ["/ext invalid_attribute"])
    }

    @Test func faultsPointIntoTheEvent() {
        #expect(faults([("ce-id", "e2")]) == ["/id duplicate_attribute"])
        #expect(faults([("ce-data", "{}")]) == ["/data unknown_attribute"])
        #expect(faults([("ce-datacontenttype", "text/xml")]) == ["/datacontenttype unknown_attribute"])
        #expect(faults([("ce-a_b", "1")]) == ["/a_b unknown_attribute"])
        #expect(faults([], #"{"output_tokens":-1}"#) == ["/data/output_tokens invalid_token_count"])
        #expect(faults([], #"{"a":[1,}"#) == ["/data/a/1 malformed_json"])
        #expect(faults([], "{}", contentType: "text/xml") == ["/datacontenttype unsupported_datacontenttype"])
        #expect(faults([], " \n ") == [])
    }

    @Test func aBodyCannotAddAttributes() {
        #expect(faults([], #"{},"injected":"x""#) == ["/data malformed_json"])
        #expect(faults([], #"1}"#) == ["/data malformed_json"])
    }

    @Test func missingAttributesAreFaults() {
        let batch = decode([("ce-id", "e1")], "{}")
        #expect(
            batch.faults.map(\.code) == ["missing_source", "missing_type", "missing_subject", "missing_specversion"]
        )
        #expect(EventDecoder.isBinaryMode(headerNames: ["Ce-Id", "content-type"]))
        #expect(!EventDecoder.isBinaryMode(headerNames: ["content-type"]))
    }
}
