import Testing

@testable import Usage

struct EventContentHashTests {
    func hash(_ text: String) throws -> Int64 {
        let batch = EventDecoder().decode(Array(text.utf8), as: .plain)
        #expect(batch.faults == [], "\(text)")
        return try #require(batch.events.first).contentHash
    }

    static let base = #"""
        {"id":"1","source":"s","type":"t","subject":"a","time":"2026-01-01T00:00:00Z","ext":"x","n":5,
         "data":{"model":"m","input_tokens":10,"cost":"1.5","o":{"p":1,"q":[1,2,{"r":null}]},"text":"a/é"}}
        """#

    @Test(arguments: [
        #"""
        {"data":{"text":"\u0061\/\u00E9","o":{"q":[1.0,20e-1,{"r":null}],"p":1e0},"cost":1.50,"input_tokens":"10",
         "model":"m"},"n":5.0,"ext":"\u0078","time":"2026-01-01T01:00:00.000000+01:00","subject":"a",
         "type":"t","source":"s","id":"1"}
        """#,
        #"""
        {"specversion":"1.0","datacontenttype":"application/json","id":"1","source":"s","type":"t","subject":"a",
         "time":"2026-01-01T00:00:00Z","ext":"x","n":5,"other":null,
         "data":{"gen_ai.request.model":"m","prompt_tokens":10.0,"cost":15e-1,
         "o":{"p":100e-2,"q":[ 1 , 2 , {"r":null} ]},
         "text":"a/é","user":null}}
        """#,
        #"""
        {"id":"another","source":"elsewhere","type":"t","subject":"a","time":"2026-01-01T00:00:00Z","ext":"x","n":5,
         "data":{"usage":{"input_tokens":10},"model":"m","cost":"1.5","o":{"p":1,"q":[1,2,{"r":null}]},"text":"a/é"}}
        """#,
    ])
    func otherWordsForTheSameContentDoNotChangeIt(_ other: String) throws {
        #expect(try hash(other) == hash(Self.base))
    }

    /// The hash is stored, so it may never change: an event sent again after an upgrade must not look like a conflict.
    @Test func isTheSameInEveryProcessAndRelease() throws {
        #expect(try hash(Self.base) == 779_564_225_326_814_118)
    }

    @Test func changesWithEveryField() throws {
        func event(_ attributes: String = "", type: String = "t", subject: String = "a", data: String = "") -> String {
            #"{"id":"1","source":"s","type":"\#(type)","subject":"\#(subject)"\#(attributes),"data":{\#(data)}}"#
        }
        var texts = [
            event(), event(type: "u"), event(subject: "b"), event(#","time":"2026-01-01T00:00:00Z""#),
            event(#","time":"2026-01-01T00:00:00.000001Z""#), event(#","ext":"x""#), event(#","ext":"y""#),
            event(#","exu":"x""#), event(#","ext":1"#), event(#","reservationpartial":true"#),
        ]
        for name in ["provider", "model", "user", "feature", "cost_center", "request_id", "free"] {
            texts.append(event(data: #""\#(name)":"x""#))
            texts.append(event(data: #""\#(name)":"y""#))
        }
        for name in ["cost", "free2"] {
            texts.append(event(data: #""\#(name)":0"#))
            texts.append(event(data: #""\#(name)":1"#))
            texts.append(event(data: #""\#(name)":0.1"#))
        }
        texts += [
            #""input_tokens":0"#, #""input_tokens":1"#, #""output_tokens":0"#, #""output_tokens":1"#,
            #""input_tokens":1,"cached_input_tokens":0"#, #""input_tokens":1,"cached_input_tokens":1"#,
            #""input_tokens":1,"cache_write_tokens":0"#, #""input_tokens":1,"cache_write_tokens":1"#,
            #""output_tokens":1,"reasoning_tokens":0"#, #""output_tokens":1,"reasoning_tokens":1"#,
            #""total_tokens":1"#, #""total_tokens":-1"#, #""total_tokens":"1""#, #""total_tokens":10"#,
            #""a":null"#, #""a":true"#, #""a":false"#, #""a":[]"#, #""a":{}"#, #""a":"""#, #""a":[[]]"#, #""a":[1,2]"#,
            #""a":[2,1]"#, #""a":[1]"#, #""a":[1,1]"#, #""a":{"b":1}"#, #""a":{"b":1,"c":2}"#, #""a":{"b":2,"c":1}"#,
            #""a":{"b":{"c":1}}"#, #""usage":{"x":1}"#, #""x":1"#, #""a":1e30"#, #""a":1e31"#,
            #""a":100000000000000000000000000001"#, #""a":100000000000000000000000000002"#,
        ].map { event(data: $0) }
        var seen: [Int64: String] = [:]
        for text in texts {
            let value = try hash(text)
            #expect(seen[value] == nil, "\(text) and \(seen[value] ?? "")")
            seen[value] = text
        }
        #expect(seen.count == texts.count)
    }

    @Test func similarContentsDoNotCollide() throws {
        var seen: Set<Int64> = []
        for number in 0..<5_000 {
            let data = #"{"input_tokens":\#(number),"k\#(number % 7)":"\#(number)"}"#
            seen.insert(try hash(#"{"id":"1","source":"s","type":"t","subject":"a","data":\#(data)}"#))
        }
        #expect(seen.count == 5_000)
    }
}
