import Testing
import Web

struct JSONValueTests {
    func fault(_ text: String) -> JSONFault? {
        do throws(JSONFault) {
            _ = try JSONValue(parsing: text)
            return nil
        } catch {
            return error
        }
    }

    func fault(bytes: [UInt8]) -> JSONFault? {
        do throws(JSONFault) {
            _ = try JSONValue(parsing: bytes)
            return nil
        } catch {
            return error
        }
    }

    @Test func keepsOrderAndNumbersAsWritten() throws {
        let value = try JSONValue(
            parsing: #" {"b": [1.0, 1e2, -0], "a": "\u0041\/\ud83d\ude00\n", "c": null, "d": true} "#
        )
        #expect(value.text == #"{"b":[1.0,1e2,-0],"a":"A/😀\u000a","c":null,"d":true}"#)
        #expect(value["a"] == .string("A/😀\n"))
        #expect(value["absent"] == nil)
        #expect(JSONValue.null["a"] == nil)
    }

    @Test(arguments: [
        (#"{"a":[1,{"b":tru}]}"#, 16, "/a/1/b", JSONFault.Reason.unexpectedCharacter),
        (#"{"a":[1,{"b":}]}"#, 13, "/a/1/b", .unexpectedCharacter),
        (#"{"a" 1}"#, 5, "", .unexpectedCharacter),
        (#"{"a":1,}"#, 7, "", .unexpectedCharacter),
        (#"[1,]"#, 3, "", .unexpectedCharacter),
        (#"{"a":1 "b":2}"#, 7, "", .unexpectedCharacter),
        ("[1 2]", 3, "", .unexpectedCharacter),
        ("", 0, "", .unexpectedEnd),
        ("[1", 2, "", .unexpectedEnd),
        (#"{"x~/y":["#, 9, "/x~0~1y", .unexpectedEnd),
        ("1 1", 2, "", .trailingContent),
        (#"{"a":"\#u{1}"}"#, 6, "/a", .controlCharacter),
        (#"{"a":"\x"}"#, 6, "/a", .invalidEscape),
        (#"["\ud800"]"#, 2, "/0", .loneSurrogate),
        (#"["\udc00"]"#, 2, "/0", .loneSurrogate),
        (#"["\ud800\u0041"]"#, 2, "/0", .loneSurrogate),
        (#"["\u0000"]"#, 2, "/0", .nulCharacter),
        ("[01]", 1, "/0", .invalidNumber),
        ("[1.]", 3, "/0", .invalidNumber),
        ("[-]", 2, "/0", .invalidNumber),
        ("[1e]", 3, "/0", .invalidNumber),
        ("[1e401]", 1, "/0", .exponentTooLarge),
        ("[1e-401]", 1, "/0", .exponentTooLarge),
        (#"{"a":{"b":1,"c":2,"\u0062":3}}"#, 19, "/a/b", .duplicateKey),
    ])
    func faultsHaveOffsetPointerAndReason(_ text: String, _ offset: Int, _ pointer: String, _ reason: JSONFault.Reason)
    {
        #expect(fault(text) == JSONFault(offset: offset, reason: reason, pointer: pointer))
    }

    @Test(arguments: [
        [0xFF], [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF0, 0x80, 0x80, 0x80],
        [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0x80], [0xE2, 0x82, 0x22],
    ])
    func malformedUTF8IsAFault(_ sequence: [UInt8]) {
        let bytes = [UInt8(ascii: "[")] + [UInt8(ascii: "\"")] + sequence + Array("\"]".utf8)
        #expect(fault(bytes: bytes)?.reason == .invalidUTF8)
        #expect(fault(bytes: bytes)?.pointer == "/0")
    }

    @Test func aByteOrderMarkIsAFault() {
        #expect(fault(bytes: [0xEF, 0xBB, 0xBF, 0x31])?.reason == .unexpectedCharacter)
    }

    @Test func limitsAreInclusive() {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(fault(nested(64)) == nil)
        #expect(fault(nested(65))?.reason == .tooDeep)
        #expect(fault(String(repeating: "[[]],", count: 0) + "[[],[[]],[]]") == nil)
        #expect(fault(String(repeating: "1", count: 400)) == nil)
        #expect(fault(String(repeating: "1", count: 401))?.reason == .numberTooLong)
        #expect(fault("1e400") == nil)
        #expect(fault("1E-400") == nil)
        #expect((try? JSONValue(parsing: "123", maximumBytes: 3)) == .number("123"))
        #expect((try? JSONValue(parsing: "1234", maximumBytes: 3)) == nil)
    }

    @Test func duplicateNamesAreFoundInObjectsOfEverySize() {
        for count in [2, 3, 16, 17, 40, 1000] {
            let names = (0..<count).map { #""name\#($0)":\#($0)"# }
            #expect(fault("{" + names.joined(separator: ",") + "}") == nil)
            for repeated in [0, count / 2, count - 1] {
                let text = "{" + (names + [#""nam\u0065\#(repeated)":0"#]).joined(separator: ",") + "}"
                #expect(fault(text)?.reason == .duplicateKey)
                #expect(fault(text)?.pointer == "/name\(repeated)")
            }
        }
    }

    @Test func stringsOfEveryLengthAndAlignmentAreRead() throws {
        for length in 0...40 {
            for special in ["", "\\n", "é", "😀", "\\\"", "\\u00e9"] {
                for place in [0, length / 2, length] {
                    let plain = String(repeating: "x", count: length)
                    let text = plain.prefix(place) + special + plain.dropFirst(place)
                    let decoded = ["\\n": "\n", "\\\"": "\"", "\\u00e9": "é"][special] ?? special
                    let expected = plain.prefix(place) + decoded + plain.dropFirst(place)
                    #expect(try JSONValue(parsing: "[\"\(text)\"]") == .array([.string(String(expected))]))
                }
            }
        }
    }
}
