import Testing
import Web

struct JSONHashTests {
    func hash(_ text: String) throws -> UInt64 {
        let result = Array(text.utf8).withUnsafeBytes { bytes in
            Result { () throws(JSONFault) in
                var scanner = JSONScanner(bytes)
                let hash = try scanner.skipValue()
                try scanner.finish()
                return hash
            }
        }
        return try result.get()
    }

    @Test(arguments: [
        ["1", "1.0", "1e0", "10e-1", "0.1e1", "1.000000000000000000000000000"],
        ["0", "-0", "0.0", "0e9", "-0.000"],
        [#"{"a":1,"b":[2,3]}"#, #" { "b" : [ 2.0 , 30e-1 ] , "\u0061" : 1 } "#],
        [#""é/""#, #""\u00e9\/""#, #""\u00E9/""#],
    ])
    func spellingDoesNotMatter(_ spellings: [String]) throws {
        #expect(try Set(spellings.map(hash)).count == 1)
    }

    @Test func differentValuesDiffer() throws {
        let texts = [
            "null", "true", "false", "0", "1", "-1", "10", "0.1", #""""#, #""0""#, #""1""#, #""null""#, "[]", "{}",
            "[[]]",
            "[{}]", "[0]", "[0,0]", "[1,2]", "[2,1]", "[[1],2]", "[[1,2]]", #"{"a":1}"#, #"{"b":1}"#, #"{"a":2}"#,
            #"{"a":1,"b":2}"#, #"{"a":2,"b":1}"#, #"{"a":{"b":1}}"#, #"{"a":[1]}"#, #""a""#, #""b""#, #""ab""#,
            #""ba""#,
            "18446744073709551617", "1e19", "12345678901234567890123", "12345678901234567890124",
        ]
        #expect(try Set(texts.map(hash)).count == texts.count)
    }

    /// Stored hashes rest on these values.
    @Test func isTheSameInEveryProcessAndRelease() throws {
        let text = #"{"a":[1,2.50,"x",null,true],"long name of a member":{"é":"seventeen bytes long or more"}}"#
        #expect(try hash(text) == 745_474_158_559_690_634)
    }
}
