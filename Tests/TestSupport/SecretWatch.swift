import Foundation
import Synchronization

/// Every secret that a test sends, gets or configures, so that nothing it should not be in bears one: the log of each
/// server is looked through when it stops, with its audit log and the metrics, and so is the output of each process.
package final class SecretWatch: Sendable {
    package static let shared = SecretWatch()

    /// A secret in a place where none may be. It says only the beginning of the secret.
    package struct SecretShown: Error, CustomStringConvertible {
        package let place: String
        package let lines: [String]

        package var description: String {
            "a secret stands in \(place):\n" + lines.prefix(5).joined(separator: "\n")
        }
    }

    /// Runs of letters and digits of this length or more are what secrets are known by, whatever is put around them.
    private static let minimumLength = 16

    private let runs = Mutex<Set<String>>([])

    package init() {}

    /// - Parameter text: the secret, or something that bears it: of an API key only what follows its id, of a token
    ///   only its signature.
    package func register(_ text: String) {
        var secret = text[...]
        if secret.hasPrefix("tpk_") || secret.hasPrefix("tps_") { secret = secret.dropFirst(4).drop { $0 != "_" } }
        if secret.hasPrefix("eyJ"), let dot = secret.lastIndex(of: ".") { secret = secret[dot...] }
        let found = Self.runs(in: secret)
        guard !found.isEmpty else { return }
        runs.withLock { $0.formUnion(found) }
    }

    package func register(passwordIn url: String) {
        if let password = URLComponents(string: url)?.password { register(password) }
    }

    /// Registers what looks like a secret in the body of a request or an answer: keys, tokens, and members named so.
    package func register(secretsIn body: String) {
        guard body.utf8.count < 65_536 else { return }
        for mark in ["tpk_", "tps_", "eyJ"] {
            var rest = body[...]
            while let start = rest.range(of: mark)?.lowerBound {
                let word = rest[start...].prefix { $0.isASCII && ($0.isLetter || $0.isNumber || "_-.".contains($0)) }
                if word.utf8.count > 40 { register(String(word)) }
                rest = rest[start...].dropFirst(mark.count)
            }
        }
        for name in ["secret\"", "password\"", "token\""] {
            var rest = body[...]
            while let found = rest.range(of: name) {
                rest = rest[found.upperBound...]
                let value = rest.drop { $0 == ":" || $0 == " " }
                if value.first == "\"" { register(String(value.dropFirst().prefix { $0 != "\"" })) }
            }
        }
    }

    /// Throws when a line of the text bears a registered secret.
    package func inspect(_ text: String, place: String) throws(SecretShown) {
        let secrets = runs.withLock { $0 }
        let shown = Self.runs(in: text[...]).filter(secrets.contains)
        guard !shown.isEmpty else { return }
        let lines = text.split(separator: "\n").compactMap { line in
            shown.first(where: line.contains).map { secret in
                line.replacing(secret, with: "\(secret.prefix(4))...").prefix(400)
            }
        }
        throw SecretShown(place: place, lines: lines.map(String.init))
    }

    /// By the C library, because megabytes are looked through and tests are compiled without optimisation.
    private static func runs(in text: Substring) -> [String] {
        var found: [String] = []
        let bytes = text.utf8.count
        text.withCString { start in
            var next = start
            while next < start + bytes {
                let length = strspn(next, lettersAndDigits)
                if length >= minimumLength {
                    found.append(String(decoding: UnsafeRawBufferPointer(start: next, count: length), as: UTF8.self))
                }
                next += length
                // What ends the run, which may be a zero.
                next += max(strcspn(next, lettersAndDigits), 1)
            }
        }
        return found
    }

    private static let lettersAndDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
}
