import BillingCore
import Web

extension ValueFilter {
    /// Reads one element of a list of filters: the member `nameField` and exactly one of `in`, `not_in`, `exists`.
    static func read(_ fields: JSONObjectReader, nameField: String) -> ValueFilter? {
        let name = fields.string(nameField, maximumLength: PropertyPath.maximumLength)
        let given = ["in", "not_in", "exists"].filter { fields.contains($0) }
        guard let condition = given.first, given.count == 1 else {
            fields.fault(
                at: "",
                code: "invalid_filter",
                detail: "a filter has exactly one of \"in\", \"not_in\" and \"exists\""
            )
            return nil
        }
        switch condition {
        case "in":
            return ValueFilter(name: name, condition: .among(Set(values(fields, "in"))))
        case "not_in":
            return ValueFilter(name: name, condition: .notAmong(Set(values(fields, "not_in"))))
        default:
            return ValueFilter(name: name, condition: .exists(fields.bool("exists")))
        }
    }

    private static func values(_ fields: JSONObjectReader, _ name: String) -> [String] {
        fields.strings(name, minimumCount: 1, maximumCount: 500)
    }

    /// The filter as it is shown and stored.
    func json(nameField: String) -> JSONValue {
        let member: JSONMember =
            switch condition {
            case .among(let values): JSONMember(name: "in", value: Self.list(values))
            case .notAmong(let values): JSONMember(name: "not_in", value: Self.list(values))
            case .exists(let expected): JSONMember(name: "exists", value: .bool(expected))
            }
        return .object([JSONMember(name: nameField, value: .string(name)), member])
    }

    private static func list(_ values: Set<String>) -> JSONValue {
        .array(values.sorted().map { .string($0) })
    }
}
