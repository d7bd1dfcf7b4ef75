package import Web

/// An answer as the test sees it.
package struct TestResponse: Sendable, CustomStringConvertible {
    package let status: Int
    package let headers: [(name: String, value: String)]
    package let body: [UInt8]

    package init(status: Int, headers: [(name: String, value: String)], body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package func header(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    package var text: String { String(decoding: body, as: UTF8.self) }

    /// The body as JSON, `null` when it is none.
    package var json: JSONValue { (try? JSONValue(parsing: body)) ?? .null }

    /// The stable code of a problem.
    package var code: String? { json["code"]?.string }

    /// The pointers of a problem's faults.
    package var pointers: [String] { (json["errors"]?.elements ?? []).compactMap { $0["pointer"]?.string } }

    package var description: String { "\(status) \(text)" }
}

extension JSONValue {
    package var string: String? { if case .string(let text) = self { text } else { nil } }
    package var number: String? { if case .number(let text) = self { text } else { nil } }
    package var bool: Bool? { if case .bool(let flag) = self { flag } else { nil } }
    package var elements: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }
    package var isNull: Bool { self == .null }

    package subscript(_ index: Int) -> JSONValue? {
        guard let elements, elements.indices.contains(index) else { return nil }
        return elements[index]
    }
}
