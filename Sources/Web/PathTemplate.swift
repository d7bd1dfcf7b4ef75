package import HTTPTypes

/// Compares paths with templates, for 405 and for the contract test; `HTTPServer` routes requests.
package enum PathTemplate {
    /// The methods of the operations that stand at a path, HEAD beside every GET, in alphabetical order.
    package static func methods(matching path: String, among operations: [Operation]) -> [HTTPRequest.Method] {
        var methods = Set(operations.filter { matches(path, template: $0.path) }.map(\.method))
        if methods.contains(.get) { methods.insert(.head) }
        return methods.sorted { $0.rawValue < $1.rawValue }
    }

    static func matches(_ path: String, template: String) -> Bool {
        let given = path.split(separator: "/")
        let expected = template.split(separator: "/")
        return given.count == expected.count && zip(given, expected).allSatisfy(matchesComponent)
    }

    /// A component is literal, `{name}`, or `{name}` followed by a literal suffix.
    private static func matchesComponent(_ given: Substring, _ expected: Substring) -> Bool {
        guard expected.first == "{", let end = expected.firstIndex(of: "}") else { return given == expected }
        let suffix = expected[expected.index(after: end)...]
        return given.hasSuffix(suffix) && given.count > suffix.count
    }
}
