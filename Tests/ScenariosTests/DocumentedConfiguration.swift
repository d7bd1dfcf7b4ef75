import Foundation
import TestSupport
import Testing

/// A configuration that `docs/integrations.md` shows, with the addresses of a test.
struct DocumentedConfiguration {
    private(set) var text: String

    /// - Parameter section: the heading below which it is the only fenced block.
    init(section: String) throws {
        let file = TestTools.packageRoot.appendingPathComponent("docs/integrations.md")
        let sections = try String(contentsOf: file, encoding: .utf8).components(separatedBy: "\n## ")
        let parts = try #require(sections.first { $0.hasPrefix(section + "\n") }).components(separatedBy: "```")
        try #require(parts.count == 3)
        text = String(try #require(parts[1].split(separator: "\n", maxSplits: 1).last))
    }

    /// What it shows exactly once becomes what the test has.
    mutating func replace(_ replacements: [(shown: String, own: String)]) {
        for (shown, own) in replacements {
            #expect(text.ranges(of: shown).count == 1, "\(shown)")
            text.replace(shown, with: own)
        }
    }
}
