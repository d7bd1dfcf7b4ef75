/// The keys that people give to tenants, meters, features, plans: `[a-z0-9][a-z0-9._-]{0,62}`.
package enum ResourceKey {
    package static let maximumLength = 63
    package static let expectation =
        "1 to 63 characters: lower-case letters, digits, '.', '_' and '-', starting with a letter or digit"

    package static func isValid(_ text: some StringProtocol) -> Bool {
        let bytes = text.utf8
        guard let first = bytes.first, isAlphanumeric(first), bytes.count <= maximumLength else { return false }
        return bytes.dropFirst().allSatisfy { byte in
            isAlphanumeric(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
        }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}
