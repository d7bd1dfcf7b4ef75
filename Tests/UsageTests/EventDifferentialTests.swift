import Foundation
import TestSupport
import Testing
import Web

@testable import Usage

/// The event decoder against `JSONValue`, which is itself held against Foundation: the same documents are malformed,
/// and what the decoder leaves raw means what was sent.
struct EventDifferentialTests {
    @Test func callsMalformedExactlyWhatIsMalformed() {
        var generator = EventTextGenerator(seed: 7)
        var documents = 0
        var malformed = 0
        var decoded = 0
        var differences: [String] = []
        while documents < 20_000 {
            let good = generator.event()
            for bytes in [good, generator.mutated(good), generator.mutated(good)] {
                documents += 1
                let parsed = try? JSONValue(parsing: bytes)
                let batch = EventDecoder().decode(bytes, as: .plain)
                let isMalformed = batch.bodyFault?.code == "malformed_json"
                malformed += isMalformed ? 1 : 0
                decoded += batch.events.count
                if isMalformed != (parsed == nil) {
                    // A body that is neither an object nor an array is refused before it is read.
                    guard batch.bodyFault?.code != "not_an_object" else { continue }
                    differences.append(String(decoding: bytes, as: UTF8.self))
                }
            }
        }
        #expect(differences.prefix(5) == [])
        #expect(documents >= 20_000)
        #expect(malformed > 5_000)
        #expect(decoded > 7_000)
    }

    @Test func whatRemainsIsJSONWithTheValuesSent() throws {
        var generator = EventTextGenerator(seed: 11)
        var kept = 0
        for _ in 0..<3_000 {
            let bytes = generator.event()
            guard let event = EventDecoder().decode(bytes, as: .plain).events.first else { continue }
            var sent = try JSONValue(parsing: bytes)
            if case .array(let events) = sent { sent = events[0] }
            for (text, original) in [(event.data, sent["data"]), (event.extensions, sent)] {
                guard let text else { continue }
                guard case .object(let members) = try JSONValue(parsing: text) else {
                    Issue.record("not an object: \(text)")
                    continue
                }
                kept += members.count
                #expect(!members.isEmpty)
                for member in members {
                    #expect(original?[member.name] == member.value)
                }
            }
            let again = try #require(EventDecoder().decode(Array(event.json.utf8), as: .structured).events.first)
            #expect(Self.fields(of: again) == Self.fields(of: event))
        }
        #expect(kept > 3_000)
    }

    private static func fields(of event: UsageEvent) -> [String] {
        Mirror(reflecting: event).children.map { "\($0.label ?? ""): \($0.value)" }
    }

    @Test func everyTruncationIsOneFault() {
        var generator = EventTextGenerator(seed: 13)
        var bodies = 0
        for _ in 0..<10 {
            let bytes = generator.event()
            for count in 0..<bytes.count {
                let batch = EventDecoder().decode(Array(bytes[..<count]), as: .plain)
                #expect(batch.events.isEmpty)
                #expect(batch.faults.map(\.code) == ["malformed_json"])
                bodies += 1
            }
        }
        #expect(bodies > 1_000)
    }
}

/// Events with members in random order, some recognised, some free.
struct EventTextGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    /// SeededGenerator (Steele, Lea, Flood 2014).
    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    private mutating func below(_ bound: Int) -> Int {
        Int(next() % UInt64(bound))
    }

    mutating func event() -> [UInt8] {
        var members = [#""id":"e\#(below(99))""#, #""source":"gw""#, #""type":"t""#, #""subject":"acme""#]
        if below(2) == 0 { members.append(#""time":"2026-11-23T08:31:0\#(below(10)).5Z""#) }
        if below(2) == 0 { members.append(#""ext\#(below(9))":\#(["\"x\\u00e9\"", "true", "1.0", "-7"][below(4)])"#) }
        members.append(#""data":{\#(data())}"#)
        members.sort { _, _ in false }
        for index in members.indices.reversed() { members.swapAt(index, below(index + 1)) }
        let text = "{" + members.joined(separator: below(2) == 0 ? "," : " ,\n ") + "}"
        return Array((below(4) == 0 ? "[\(text)]" : text).utf8)
    }

    private mutating func data() -> String {
        var members: [String] = []
        if below(2) == 0 {
            members.append(#""input_tokens":\#(100 + below(900)),"cached_input_tokens":\#(below(100))"#)
        }
        if below(2) == 0 { members.append(#""usage":{"completion_tokens":"\#(below(50))"}"#) }
        if below(2) == 0 { members.append(#""model":"m\u00e9\#(below(9))","cost":0.\#(below(999))1"#) }
        if below(2) == 0 { members.append(#""a\\\u0062":[1.50,{"k":null,"l":"\ud83d\ude00 é"},[]]"#) }
        if below(2) == 0 { members.append(#""region" : { "name" : "eu" , "n" : 1e\#(below(30)) }"#) }
        return members.joined(separator: ",")
    }

    mutating func mutated(_ document: [UInt8]) -> [UInt8] {
        var bytes = document
        let index = below(bytes.count)
        switch below(5) {
        case 0: bytes.removeLast(bytes.count - index)
        case 1: bytes.remove(at: index)
        case 2: bytes[index] = UInt8(truncatingIfNeeded: next())
        case 3: bytes[index] ^= 1 << UInt8(below(8))
        default: bytes.insert(contentsOf: bytes[index..<min(bytes.count, index + 1 + below(30))], at: index)
        }
        return bytes
    }
}
