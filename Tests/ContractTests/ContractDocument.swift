import Foundation
import TestSupport
import Yams

/// `openapi/openapi.yaml`, as far as the tests look into it.
struct ContractDocument {
    /// One operation as the document promises it.
    struct Operation: Hashable, CustomStringConvertible {
        let method: String
        let path: String
        let id: String
        /// Any one of these lets a caller in; empty where no credential is needed.
        let scopes: Set<String>

        var isOpen: Bool { scopes.isEmpty }
        var description: String { "\(method) \(path) \(id) \(scopes.sorted())" }
    }

    struct Malformed: Error, CustomStringConvertible {
        let description: String
    }

    static let file = TestTools.packageRoot.appendingPathComponent("openapi/openapi.yaml")

    let root: Node

    init() throws {
        let text = try String(contentsOf: Self.file, encoding: .utf8)
        guard let root = try Yams.compose(yaml: text) else { throw Malformed(description: "the document is empty") }
        self.root = root
    }

    /// Each operation with its node, in the order of the document.
    func operationNodes() throws -> [(operation: Operation, node: Node)] {
        let methods = ["get", "put", "post", "delete", "patch"]
        var found: [(Operation, Node)] = []
        for (path, item) in try mapping(root, "paths") {
            for (method, node) in try mapping(item) where methods.contains(method.string ?? "") {
                let place = "\(method.string ?? "") \(path.string ?? "")"
                guard let id = node["operationId"]?.string else {
                    throw Malformed(description: "\(place) has no operationId")
                }
                let isOpen = node["security"]?.sequence?.isEmpty ?? false
                let scopes = node["x-turnpike-scope"]?.sequence?.compactMap(\.string) ?? []
                guard isOpen == scopes.isEmpty else {
                    throw Malformed(description: "\(place) must either name its scopes or be open, and not both")
                }
                let operation = Operation(
                    method: (method.string ?? "").uppercased(),
                    path: path.string ?? "",
                    id: id,
                    scopes: Set(scopes)
                )
                found.append((operation, node))
            }
        }
        return found
    }

    func operations() throws -> [Operation] {
        try operationNodes().map(\.operation)
    }

    /// Every schema that a request body refers to, by name, those it refers to in turn included.
    func requestSchemas() throws -> Set<String> {
        var pending: [String] = []
        for (_, node) in try operationNodes() {
            guard let body = node["requestBody"] else { continue }
            pending += Self.references(in: body)
        }
        var seen: Set<String> = []
        while let name = pending.popLast() {
            guard seen.insert(name).inserted else { continue }
            pending += Self.references(in: try schema(name))
        }
        return seen
    }

    func schema(_ name: String) throws -> Node {
        guard let node = root["components"]?["schemas"]?[name] else {
            throw Malformed(description: "there is no schema \(name)")
        }
        return node
    }

    /// The response that stands there, or that is referred to.
    func resolved(_ response: Node) throws -> Node {
        guard let reference = response["$ref"]?.string else { return response }
        guard let node = root["components"]?["responses"]?[String(reference.dropFirst("#/components/responses/".count))]
        else { throw Malformed(description: "there is no \(reference)") }
        return node
    }

    private static func references(in node: Node) -> [String] {
        switch node {
        case .mapping(let members):
            return members.flatMap { name, value in
                if name.string == "$ref", let target = value.string, target.hasPrefix("#/components/schemas/") {
                    return [String(target.dropFirst("#/components/schemas/".count))]
                }
                return references(in: value)
            }
        case .sequence(let elements):
            return elements.flatMap(references)
        default:
            return []
        }
    }

    private func mapping(_ node: Node, _ name: String) throws -> Node.Mapping {
        guard let value = node[name] else { throw Malformed(description: "there is no \(name)") }
        return try mapping(value)
    }

    private func mapping(_ node: Node) throws -> Node.Mapping {
        guard let mapping = node.mapping else { throw Malformed(description: "\(node) is no mapping") }
        return mapping
    }
}
