package import BillingCore

extension JSONObjectReader {
    /// An array of JSON numbers, each read from its text; nil when it is absent, or when an element is no number.
    package func numbers(_ name: String, maximumCount: Int) -> [FixedDecimal]? {
        guard let elements = array(name, minimumCount: 0, maximumCount: maximumCount) else { return nil }
        let numbers = elements.enumerated().map { index, element in
            let number = Self.number(element)
            if number == nil {
                fault(
                    at: "\(JSONPointer.escaped(name))/\(index)",
                    code: "invalid_element",
                    detail: "each of \"\(name)\" must be a number such as 80"
                )
            }
            return number
        }
        let read = numbers.compactMap(\.self)
        return read.count == numbers.count ? read : nil
    }

    private static func number(_ element: JSONValue) -> FixedDecimal? {
        guard case .number(let text) = element else { return nil }
        return try? FixedDecimal(parsing: text)
    }
}
