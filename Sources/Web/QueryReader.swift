package import BillingCore

/// Reads query parameters like `JSONObjectReader` reads a body: each reader gives a usable value and records a
/// fault, and `finish()` throws all of them at once, unknown and repeated parameters included.
package final class QueryReader {
    private let values: [String: String]
    private let repeated: [String]
    private var asked: Set<String> = []
    private var faults: [FieldFault] = []
    private let operationID: String

    init(_ text: String, operationID: String) {
        var values: [String: String] = [:]
        var repeated: [String] = []
        for pair in text.split(separator: "&", omittingEmptySubsequences: true) {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = PercentEncoding.decoded(parts[0], plusIsSpace: true) ?? String(parts[0])
            let value = parts.count > 1 ? PercentEncoding.decoded(parts[1], plusIsSpace: true) : ""
            if values.updateValue(value ?? "\u{0}", forKey: name) != nil { repeated.append(name) }
        }
        self.values = values
        self.repeated = repeated
        self.operationID = operationID
    }

    /// The parameter's text; nil when it is absent.
    package func string(_ name: String, maximumLength: Int = 512) -> String? {
        asked.insert(name)
        guard let text = values[name] else { return nil }
        guard !text.unicodeScalars.contains(where: { $0.value < 0x20 }) else {
            fault(name, code: "malformed", detail: "This is not percent-encoded text.")
            return nil
        }
        guard text.unicodeScalars.count <= maximumLength else {
            fault(name, code: "too_long", detail: "This may have at most \(maximumLength) characters.")
            return nil
        }
        return text
    }

    /// A parsed parameter; `expecting` completes the sentence "This must be ...".
    package func value<Value>(_ name: String, expecting: String, _ parse: (String) -> Value?) -> Value? {
        guard let text = string(name) else { return nil }
        guard let value = parse(text) else {
            fault(name, code: "invalid", detail: "This must be \(expecting).")
            return nil
        }
        return value
    }

    package func integer(_ name: String, in range: ClosedRange<Int>) -> Int? {
        value(name, expecting: "a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
            Int(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    package func bool(_ name: String) -> Bool? {
        value(name, expecting: "true or false") { Bool($0) }
    }

    package func instant(_ name: String) -> Instant? {
        value(name, expecting: "an RFC 3339 date and time") { try? Instant(parsing: $0) }
    }

    /// One of an enumeration's raw values.
    package func oneOf<Value: RawRepresentable & CaseIterable>(_ name: String, _ type: Value.Type) -> Value?
    where Value.RawValue == String {
        let names = Value.allCases.map(\.rawValue).joined(separator: ", ")
        return value(name, expecting: "one of \(names)") { Value(rawValue: $0) }
    }

    package func fault(_ name: String, code: String, detail: String) {
        faults.append(FieldFault(pointer: "?\(name)", code: code, detail: detail))
    }

    /// `limit` and `cursor`. The cursor is bound to the operation and to the other parameters of the query.
    package func page() -> PageRequest {
        let limit = integer("limit", in: 1...PageRequest.maximumLimit) ?? PageRequest.defaultLimit
        let binding = CursorBinding(operationID: operationID, filters: filters)
        guard let text = string("cursor", maximumLength: Cursor.maximumLength) else {
            return PageRequest(limit: limit, after: nil, binding: binding)
        }
        guard let position = Cursor.decoded(text, binding: binding) else {
            fault("cursor", code: "invalid_cursor", detail: PageRequest.invalidCursorDetail)
            return PageRequest(limit: limit, after: nil, binding: binding)
        }
        return PageRequest(limit: limit, after: position, binding: binding)
    }

    private var filters: [String] {
        values.filter { $0.key != "cursor" && $0.key != "limit" }.map { "\($0.key)=\($0.value)" }.sorted()
    }

    /// Throws 400 with every fault found.
    package func finish() throws(Problem) {
        for name in repeated.sorted() {
            fault(name, code: "repeated", detail: "This may be given once.")
        }
        for name in values.keys.sorted() where !asked.contains(name) {
            let nearest = Nearest.name(to: name, among: asked)
            let hint = nearest.map { " Do you mean '\($0)'?" } ?? ""
            fault(name, code: "unknown_parameter", detail: "There is no parameter '\(name)' here.\(hint)")
        }
        if !faults.isEmpty { throw .validationFailed(faults) }
    }
}
