package import HTTPTypes
import Hummingbird

/// A path with places for parameters. What it does for types is for 405 and for the contract test; the router finds the
/// operations of requests, but for brief ones.
package struct PathTemplate: Sendable {
    private let components: [Substring]

    init(_ template: String) {
        components = template.split(separator: "/", omittingEmptySubsequences: false)
    }

    /// What a path has in the places of parameters, as sent; nil where it does not look exactly so. Places are whole
    /// components, `{name}`.
    func parameters(of path: Substring) -> Parameters? {
        let given = path.split(separator: "/", omittingEmptySubsequences: false)
        guard given.count == components.count else { return nil }
        var parameters = Parameters()
        for (value, component) in zip(given, components) {
            if component.first == "{" {
                guard !value.isEmpty else { return nil }
                parameters[component.dropFirst().dropLast()] = value
            } else if value != component {
                return nil
            }
        }
        return parameters
    }

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
