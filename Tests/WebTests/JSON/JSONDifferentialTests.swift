import Foundation
import Testing
import Web

/// The scanner against Foundation's parser, on generated documents: the same verdict, and the same value.
struct JSONDifferentialTests {
    /// What we refuse on purpose and Foundation does not.
    static let stricter: Set<JSONFault.Reason> = [
        .duplicateKey, .tooDeep, .nulCharacter, .numberTooLong, .exponentTooLarge,
    ]

    struct Tally {
        var documents = 0
        var accepted = 0
        var refused: [JSONFault.Reason: Int] = [:]
        var beyondDouble = 0
        var trailingCommas = 0
        var differences: [String] = []
    }

    @Test func agreesWithFoundationOnAHundredThousandDocuments() {
        var generator = JSONDocumentGenerator(seed: 20_261_123)
        var tally = Tally()
        while tally.documents < 100_000 {
            let document = generator.document()
            compare(document, &tally)
            for _ in 0..<3 {
                compare(generator.mutated(document), &tally)
            }
        }
        #expect(tally.differences.prefix(5) == [])
        #expect(tally.documents >= 100_000)
        #expect(tally.accepted > 30_000)
        for reason in Self.stricter {
            #expect(tally.refused[reason, default: 0] > 10, "\(reason)")
        }
        let both: [JSONFault.Reason] = [
            .unexpectedEnd, .unexpectedCharacter, .trailingContent, .invalidUTF8, .controlCharacter, .invalidEscape,
            .loneSurrogate, .invalidNumber,
        ]
        for reason in both {
            #expect(tally.refused[reason, default: 0] > 10, "\(reason)")
        }
        #expect(tally.beyondDouble > 10)
        #expect(tally.trailingCommas > 10)
    }

    @Test func agreesWithFoundationOnEveryTruncation() {
        let document = #"""
            {"a":[1,-2.5e+3,"x\n\u00e9\ud83d\ude00é€😀"],"b":{"c":null,"d":[true,false,{}]},"e":"plain text over eight"}
            """#
        var tally = Tally()
        let bytes = Array(document.utf8)
        for count in 0...bytes.count {
            compare(Array(bytes[..<count]), &tally)
        }
        #expect(tally.differences == [])
        #expect(tally.accepted == 1)
        #expect(tally.refused[.unexpectedEnd] == bytes.count)
    }

    private func compare(_ bytes: [UInt8], _ tally: inout Tally) {
        tally.documents += 1
        let ours = Result { () throws(JSONFault) in try JSONValue(parsing: bytes) }
        let theirs = try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
        let text = String(decoding: bytes, as: UTF8.self)
        switch ours {
        case .failure(let fault):
            tally.refused[fault.reason, default: 0] += 1
            if theirs != nil, Self.isTrailingComma(fault, in: bytes) {
                tally.trailingCommas += 1
            } else if theirs != nil, !Self.stricter.contains(fault.reason), !Self.looksLikeAnotherEncoding(bytes) {
                tally.differences.append("only Foundation accepts (\(fault)): \(text)")
            }
        case .success(let value):
            tally.accepted += 1
            guard let theirs else {
                if Self.hasNumberBeyondDouble(value) {
                    tally.beyondDouble += 1
                } else {
                    tally.differences.append("only we accept: \(text)")
                }
                return
            }
            if !Self.same(value, theirs) {
                tally.differences.append("other values: \(text)")
            }
            if (try? JSONValue(parsing: value.text)) != value {
                tally.differences.append("does not survive being written: \(text)")
            }
        }
    }

    /// Foundation also reads UTF-16, UTF-32 and a byte-order mark, and guesses the encoding from the first bytes.
    private static func looksLikeAnotherEncoding(_ bytes: [UInt8]) -> Bool {
        bytes.prefix(4).contains(0) || bytes.starts(with: [0xEF, 0xBB, 0xBF]) || bytes.starts(with: [0xFE, 0xFF])
            || bytes.starts(with: [0xFF, 0xFE])
    }

    /// Foundation for Linux takes `[1,]` and `{"a":1,}`; RFC 8259 does not.
    private static func isTrailingComma(_ fault: JSONFault, in bytes: [UInt8]) -> Bool {
        guard fault.reason == .unexpectedCharacter, [0x5D, 0x7D].contains(bytes[fault.offset]) else { return false }
        return bytes[..<fault.offset].last { $0 > 0x20 } == UInt8(ascii: ",")
    }

    private static func hasNumberBeyondDouble(_ value: JSONValue) -> Bool {
        switch value {
        case .number(let text): Double(text).map { !$0.isFinite || $0.magnitude < 1e-300 } ?? true
        case .array(let elements): elements.contains(where: hasNumberBeyondDouble)
        case .object(let members): members.contains { hasNumberBeyondDouble($0.value) }
        default: false
        }
    }

    private static func same(_ ours: JSONValue, _ theirs: Any) -> Bool {
        switch ours {
        case .null: return theirs is NSNull
        case .bool(let flag): return (theirs as? Bool) == flag
        case .string(let text): return (theirs as? String).map { Array($0.utf8) == Array(text.utf8) } ?? false
        case .number(let text):
            guard let number = (theirs as? NSNumber)?.doubleValue, let expected = Double(text) else { return false }
            return (number - expected).magnitude <= expected.magnitude * 1e-12
        case .array(let elements):
            guard let array = theirs as? [Any], array.count == elements.count else { return false }
            return zip(elements, array).allSatisfy(same)
        case .object(let members):
            guard let object = theirs as? [String: Any] else { return false }
            let names = Set(members.map(\.name))
            guard names.count == members.count else { return true }
            return object.count == members.count
                && members.allSatisfy { member in object[member.name].map { same(member.value, $0) } ?? false }
        }
    }
}
