import BillingCore
import TestSupport
import Testing
import Web

@Suite struct JSONWriterTests {
    private func written(reserving capacity: Int = 1_024, _ write: (inout JSONWriter) -> Void) -> String {
        var writer = JSONWriter(reserving: capacity)
        write(&writer)
        return writer.text
    }

    @Test(arguments: [0, 1, 7, 1_024])
    func membersAndElementsArePartedByCommasWhateverTheRoom(_ capacity: Int) throws {
        let text = written(reserving: capacity) { writer in
            writer.object { writer in
                writer.array("empty", [String]()) { $0.element($1) }
                writer.object("nothing") { _ in }
                writer.array("rows", [1, 2] as [Int64]) { writer, number in
                    writer.object { writer in
                        writer.member("flag", number == 1)
                        writer.member("number", Optional(-number))
                    }
                }
                writer.null("unknown")
                writer.array("words", ["a", "b"]) { $0.element($1) }
            }
        }
        #expect(
            text == """
                {"empty":[],"nothing":{},"rows":[{"flag":true,"number":-1},{"flag":false,"number":-2}],\
                "unknown":null,"words":["a","b"]}
                """
        )
        _ = try JSONValue(parsing: text)
    }

    @Test func arraysStandInArrays() throws {
        let amount = try FixedDecimal(parsing: "12.5")
        let text = written { writer in
            writer.array { writer in
                for number: Int64 in [7, 8] {
                    writer.array { writer in
                        writer.element(number)
                        writer.element("x")
                        writer.element(Instant(microseconds: 1))
                        writer.element(amount)
                    }
                }
            }
        }
        #expect(
            text == """
                [[7,"x","1970-01-01T00:00:00.000001Z","12.5"],[8,"x","1970-01-01T00:00:00.000001Z","12.5"]]
                """
        )
    }

    @Test(arguments: [
        "", "plain", "\"", "\\", "a\"b\\c", "\u{1}\u{1F}\n\t", "\u{7F}", "Größe", "e\u{301}", "\u{2028}",
        "👩‍👩‍👧", "/</script>", String(repeating: "ä\"", count: 60),
    ])
    func everyTextIsReadAsItWasWritten(_ text: String) throws {
        let written = written(reserving: 8) { writer in
            writer.object { writer in
                writer.member("a", Optional(text))
                writer.array("b", [text, text]) { $0.element($1) }
            }
        }
        let value = try JSONValue(parsing: written)
        guard case .array(let elements) = value["b"] else {
            Issue.record("'b' is no array")
            return
        }
        #expect(elements.count == 2)
        for read in [value["a"]] + elements.map(Optional.some) {
            #expect(read?.string.map { Array($0.utf8) } == Array(text.utf8))
        }
    }

    @Test func identifiersAreWrittenAsTheyAreRead() throws {
        let id = UUIDv7(high: 0x018F_2B6E_7C1A_7C3D, low: 0x8A55_0123_4567_89AB)
        #expect(id.description == "018f2b6e-7c1a-7c3d-8a55-0123456789ab")
        let low = UUIDv7(high: 0x0000_0000_0000_7000, low: 0x8000_0000_0000_0000)
        #expect(low.description == "00000000-0000-7000-8000-000000000000")
        #expect(UUIDv7(low.description) == low)
    }
}
