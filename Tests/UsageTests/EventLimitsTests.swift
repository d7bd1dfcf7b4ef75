import BillingCore
import Testing

@testable import Usage

struct EventLimitsTests {
    func faults(_ text: String, _ format: EventFormat = .plain) -> [String] {
        EventDecoder().decode(Array(text.utf8), as: format).faults.map { "\($0.pointer) \($0.code)" }
    }

    func event(_ members: String) -> String {
        #"{"id":"1","source":"s","type":"t","subject":"a",\#(members)}"#
    }

    @Test("a name that is nearly that of an extension for reservations is told which")
    func nearlyReservationID() {
        let text = event(#""reservation_id":"x""#)
        let details = EventDecoder().decode(Array(text.utf8), as: .plain).faults.map(\.detail)
        #expect(details.count == 1 && details[0].hasSuffix(#"; do you mean "reservationid"?"#), "\(details)")
    }

    @Test(arguments: ["id", "source", "type", "subject"])
    func identityIsRequiredAndAtMost512Bytes(_ name: String) {
        var values = ["id": "1", "source": "s", "type": "t", "subject": "a"]
        func text(_ value: String?) -> String {
            values[name] = value
            return "{"
                + values.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\"\($0.value)\"" }.joined(separator: ",") + "}"
        }
        #expect(faults(text(nil)) == ["/\(name) missing_\(name)"])
        #expect(faults(text("")) == ["/\(name) missing_\(name)"])
        #expect(faults(text(String(repeating: "é", count: 256))) == [])
        #expect(faults(text(String(repeating: "\\u00e9", count: 256))) == [])
        #expect(faults(text(String(repeating: "é", count: 256) + "a")) == ["/\(name) too_long"])
        #expect(faults(text("a\\u0001")) == ["/\(name) invalid_attribute"])
        #expect(faults(text("a\u{7F}")) == ["/\(name) invalid_attribute"])
        #expect(faults(text("a\u{85}")) == ["/\(name) invalid_attribute"])
        #expect(faults(text("a\u{A0}")) == [])
    }

    @Test func everyMissingAttributeIsNamed() {
        let expected = [
            "/id missing_id", "/source missing_source", "/type missing_type", "/subject missing_subject",
            "/specversion missing_specversion",
        ]
        #expect(faults(#"{"id":null}"#, .structured) == expected)
        #expect(
            faults(#"{"id":1,"source":"s","type":[],"subject":"a"}"#) == [
                "/id invalid_attribute", "/type invalid_attribute",
            ]
        )
    }

    @Test(arguments: [
        (#""specversion":"0.3""#, ["/specversion unsupported_specversion"]),
        (#""specversion":1.0"#, ["/specversion invalid_attribute"]),
        (#""specversion":"1.0""#, []),
        (#""time":"2026-11-23""#, ["/time invalid_time"]),
        (#""time":"yesterday""#, ["/time invalid_time"]),
        (#""time":1700000000"#, ["/time invalid_time"]),
        (#""time":null"#, []),
        (#""datacontenttype":"text/xml""#, ["/datacontenttype unsupported_datacontenttype"]),
        (#""datacontenttype":"application/vnd.x+JSON; v=1""#, []),
        (#""datacontenttype":"json""#, ["/datacontenttype unsupported_datacontenttype"]),
        (#""datacontenttype":3"#, ["/datacontenttype invalid_attribute"]),
        (#""data_base64":"AAAA""#, ["/data_base64 unsupported_data_encoding"]),
        (#""dataschema":7"#, ["/dataschema invalid_attribute"]),
        (#""tenantId":"x""#, ["/tenantId unknown_attribute"]),
        (#""a/b":1,"":2"#, ["/a~1b unknown_attribute", "/ unknown_attribute"]),
        (#""ext":{"a":1}"#, ["/ext invalid_attribute"]),
        (#""ext":[]"#, ["/ext invalid_attribute"]),
        (#""ext":"a\tb""#, ["/ext invalid_attribute"]),
        (#""ext":null"#, []),
        (#""ext1":1,"ext2":false,"ext3":"x""#, []),
        (#""reservationid":"nope""#, ["/reservationid invalid_reservation"]),
        (#""reservationid":5"#, ["/reservationid invalid_reservation"]),
        (#""reservationpartial":"perhaps""#, ["/reservationpartial invalid_reservation"]),
        (#""reservationpartial":true"#, []),
    ])
    func attributesAreChecked(_ members: String, _ expected: [String]) {
        #expect(faults(event(members)) == expected)
    }

    @Test func otherTextsAreAtMost256Bytes() {
        let fits = String(repeating: "x", count: 256)
        for name in ["provider", "model", "user", "feature", "cost_center", "request_id", "gen_ai.system"] {
            #expect(faults(event(#""data":{"\#(name)":"\#(fits)"}"#)) == [])
            #expect(faults(event(#""data":{"\#(name)":"\#(fits)x"}"#)) == ["/data/\(name) too_long"])
        }
        #expect(faults(event(#""ext":"\#(fits)""#)) == [])
        #expect(faults(event(#""ext":"\#(fits)x""#)) == ["/ext too_long"])
        #expect(faults(event(#""dataschema":"\#(fits)x""#)) == ["/dataschema too_long"])
    }

    @Test func theRemainderOfDataIsAtMost64KiB() {
        func data(_ count: Int) -> String {
            let filler = String(repeating: "x", count: count - #"{"a":""}"#.count)
            return event(#""data":{"input_tokens":1,"a":"\#(filler)"}"#)
        }
        #expect(faults(data(64 * 1024)) == [])
        #expect(faults(data(64 * 1024 + 1)) == ["/data data_too_large"])
    }

    @Test func theExtensionsAreAtMost64KiB() {
        let many = (0..<300).map { #""e\#($0)":"\#(String(repeating: "x", count: 250))""# }.joined(separator: ",")
        #expect(faults(event(many)) == [" extensions_too_large"])
    }

    @Test func anEventTellsAtMostTwentyFaults() {
        let many = (0..<50).map { #""X\#($0)":1"# }.joined(separator: ",")
        #expect(faults(event(many)).count == 20)
    }

    @Test func afterAThousandFaultsEachEventTellsItsFirst() {
        let bad = event((0..<30).map { #""X\#($0)":1"# }.joined(separator: ","))
        let batch = "[" + Array(repeating: bad, count: 100).joined(separator: ",") + "]"
        let told = EventDecoder().decode(Array(batch.utf8), as: .plain)
        #expect(told.events.isEmpty)
        #expect(told.faults.count == 1_000 + 50)
        #expect(Set(told.faults.compactMap(\.index)).count == 100)
    }
}
