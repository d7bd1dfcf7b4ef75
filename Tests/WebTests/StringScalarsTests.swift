import Testing
import Web

@Suite struct StringScalarsTests {
    @Test func whatEndsALineOrDoesNotShowBecomesASpace() {
        #expect("a\r\nb\u{0}c\u{2028}d\u{85}e".onOneLine == "a  b c d e")
        #expect("a\u{202E}b\u{2066}c\u{200F}d".onOneLine == "a b c d")
        #expect("e\u{301} - \u{1F469}\u{200D}\u{1F52C}".onOneLine == "e\u{301} - \u{1F469}\u{200D}\u{1F52C}")
    }

    @Test func aScalarIsReplacedUnderACombiningMark() {
        let text = "<\u{338}b>".replacingScalars { $0 == "<" ? "&lt;" : nil }
        #expect(Array(text.unicodeScalars) == Array("&lt;\u{338}b>".unicodeScalars))
    }
}
