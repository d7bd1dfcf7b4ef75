import Testing

@testable import Identity

@Suite struct MasterKeyTests {
    @Test func itIsReadInThreeSpellings() throws {
        let hexadecimal = "fffe" + String(repeating: "a0", count: 30)
        let base64 = "//6goKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKA="
        let base64URL = "__6goKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKA"
        let keys = try [hexadecimal, base64, base64URL].map { try #require(MasterKey(parsing: $0)).key(for: "test") }
        #expect(keys[0] == keys[1])
        #expect(keys[0] == keys[2])
        #expect(MasterKey(parsing: MasterKey.random()) != nil)
    }

    @Test(arguments: ["", "short", "c2hvcnQ=", String(repeating: "g", count: 64), String(repeating: "a0", count: 31)])
    func whatIsNot32BytesIsRefused(_ text: String) {
        #expect(MasterKey(parsing: text) == nil)
    }

    @Test func whatIsSealedOpensForTheSameKeyPurposeAndNameOnly() throws {
        let key = try #require(MasterKey(parsing: MasterKey.random()))
        let other = try #require(MasterKey(parsing: MasterKey.random()))
        let sealed = try key.seal([1, 2, 3], for: "a", name: "n")
        #expect(try key.open(sealed, for: "a", name: "n") == [1, 2, 3])
        #expect(throws: (any Error).self) { try key.open(sealed, for: "b", name: "n") }
        #expect(throws: (any Error).self) { try key.open(sealed, for: "a", name: "m") }
        #expect(throws: (any Error).self) { try other.open(sealed, for: "a", name: "n") }
        #expect(!"\(key)".contains(MasterKey.random().prefix(4)))
        #expect("\(key)" == "MasterKey(redacted)")
    }
}
