package import HTTPTypes
import Hummingbird

/// A path with places for parameters, for brief operations, for 405 and for the contract test; the router finds the
/// operations of other requests, and takes the same paths for the same.
package struct PathTemplate: Sendable {
    private let components: [Substring]

    init(_ template: String) {
        components = template.split(separator: "/")
    }

    /// The methods of the operations that stand at a path, HEAD beside every GET, in alphabetical order.
    package static func methods(matching path: String, among operations: [Operation]) -> [HTTPRequest.Method] {
        var methods = Set(
            operations.filter { PathTemplate($0.path).parameters(of: path[...]) != nil }.map(\.method)
        )
        if methods.contains(.get) { methods.insert(.head) }
        return methods.sorted { $0.rawValue < $1.rawValue }
    }

    /// What a path has in the places of parameters, as sent; nil where it does not match. A component is literal,
    /// `{name}`, or `{name}` followed by a literal suffix.
    func parameters(of path: Substring) -> Parameters? {
        let given = path.split(separator: "/")
        guard given.count == components.count else { return nil }
        var parameters = Parameters()
        for (value, component) in zip(given, components) {
            if component.first == "{", let end = component.firstIndex(of: "}") {
                let suffix = component[component.index(after: end)...]
                guard value.hasSuffix(suffix), value.count > suffix.count else { return nil }
                parameters[component[..<end].dropFirst()] = value.dropLast(suffix.count)
            } else if value != component {
                return nil
            }
        }
        return parameters
    }
}
