/// An address that mail is sent to or from: one, without a name, in the characters that need no quoting (RFC 5322,
/// section 3.2.3). Nothing of it can end a header or begin another one.
package struct MailAddress: Sendable, Hashable, CustomStringConvertible {
    package static let expectation = "an address such as mailto:ops@example.com"

    let text: String

    /// Nil for anything but `name@domain`.
    package init?(_ text: String) {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard text.utf8.count <= 254, parts.count == 2, (1...64).contains(parts[0].utf8.count),
            Self.isDotted(parts[0], allowing: "!#$%&'*+-/=?^_`{|}~"), Self.isDotted(parts[1], allowing: "-"),
            parts[0].first != "-"
        else { return nil }
        self.text = text
    }

    /// Reads `mailto:name@domain`, without headers.
    init?(mailto url: String) {
        let scheme = "mailto:"
        guard url.lowercased().hasPrefix(scheme) else { return nil }
        self.init(String(url.dropFirst(scheme.count)))
    }

    var domain: Substring { text.split(separator: "@")[1] }

    package var description: String { text }

    private static func isDotted(_ text: Substring, allowing others: String) -> Bool {
        text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { atom in
            !atom.isEmpty
                && atom.utf8.allSatisfy { byte in
                    let isLetter = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                    let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    return isLetter || isDigit || others.utf8.contains(byte)
                }
        }
    }
}
