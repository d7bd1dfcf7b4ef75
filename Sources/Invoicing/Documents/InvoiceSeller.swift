package import Web

/// Who issues the invoices: what the operator configured when an invoice was finalised.
package struct InvoiceSeller: Sendable, Hashable {
    package let name: String
    /// Address, tax number and whatever else is to stand below the name, a line each.
    package let lines: [String]

    package init(name: String, lines: [String] = []) {
        self.name = name
        self.lines = lines
    }
}

extension InvoiceSeller {
    /// As it is pinned.
    package var json: JSONValue {
        .members(["lines": .array(lines.map(JSONValue.string)), "name": .string(name)])
    }

    /// Nil for what `json` never gives.
    package init?(json: JSONValue) {
        guard let name = json.text("name") else { return nil }
        self.init(name: name, lines: json.list("lines").compactMap(\.asText))
    }
}
