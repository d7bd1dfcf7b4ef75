import BillingCore

/// Reads the members of a JSON object, and collects everything that is wrong with them instead of stopping at the first
/// fault. Each method returns a usable value even where it records a fault; `finish` then throws them all, members that
/// nobody asked for included. Not Sendable: one reader serves one request.
///
/// An absent member and one that is `null` are the same.
package final class JSONObjectReader {
    /// The pointer of this object within the body.
    package let pointer: String
    let members: [String: JSONValue]
    private let names: [String]
    private var asked: Set<String> = []
    /// Those of `asked` that can't be changed, which no error offers.
    private var fixed: Set<String> = []
    private let collected: CollectedFaults

    /// A reader of a request body. A body that is not an object is a fault at the pointer "".
    package convenience init(_ body: JSONValue) {
        self.init(body, pointer: "", collected: CollectedFaults())
    }

    private init(_ value: JSONValue, pointer: String, collected: CollectedFaults) {
        self.pointer = pointer
        self.collected = collected
        guard case .object(let members) = value else {
            self.members = [:]
            self.names = []
            let subject = pointer.isEmpty ? "the body" : "\"\(Self.lastName(of: pointer))\""
            collected.add(
                FieldFault(
                    pointer: pointer,
                    code: "invalid_type",
                    detail: "\(subject) must be a JSON object, not \(value.kindName)"
                )
            )
            return
        }
        self.members = Dictionary(members.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
        self.names = members.map(\.name)
    }

    /// The faults recorded so far, by this reader and those of nested objects.
    package var faults: [FieldFault] { collected.faults }

    /// Throws every fault that was found. Call it once all members have been read.
    package func finish() throws(ValidationFailure) {
        recordUnknownFields()
        guard collected.faults.isEmpty else { throw ValidationFailure(collected.faults) }
    }

    /// Records a fault that the caller found. The path is relative to this object: `tiers/0/up_to`, or "" for itself.
    package func fault(at path: String, code: String, detail: String) {
        let pointer = path.isEmpty ? self.pointer : self.pointer + "/" + path
        collected.add(FieldFault(pointer: pointer, code: code, detail: detail))
    }

    /// Whether the member is there and not null.
    package func contains(_ name: String) -> Bool {
        present(name) != nil
    }

    /// Whether the member is there and null.
    package func isNull(_ name: String) -> Bool {
        asked.insert(name)
        return members[name] == .null
    }

    /// Records a fault for each of these members that is there: they can't be changed.
    /// - Parameter subject: whose they are, such as "a meter".
    package func rejectImmutable(_ names: [String], of subject: String) {
        fixed.formUnion(names)
        for name in names where contains(name) { reject(name, "immutable", "of \(subject) cannot be changed") }
    }

    /// Records a fault for each of these members that is null: a merge patch would clear them, and they must stay.
    package func rejectNull(_ names: [String]) {
        for name in names where isNull(name) { reject(name, "required", "cannot be cleared") }
    }

    /// The member's value, and marks it as known; nil when absent or null.
    func present(_ name: String) -> JSONValue? {
        asked.insert(name)
        guard let value = members[name], value != .null else { return nil }
        return value
    }

    func reject(_ name: String, _ code: String, _ requirement: String) {
        fault(at: JSONPointer.escaped(name), code: code, detail: "\"\(name)\" \(requirement)")
    }

    func rejectMissing(_ name: String, _ requirement: String) {
        reject(name, "required", "is required and \(requirement)")
    }

    /// Reads a nested object with the same collection of faults.
    func nested<T>(_ value: JSONValue, at path: String, _ read: (JSONObjectReader) throws -> T) rethrows -> T {
        let reader = JSONObjectReader(value, pointer: pointer + "/" + path, collected: collected)
        let result = try read(reader)
        reader.recordUnknownFields()
        return result
    }

    private func recordUnknownFields() {
        let unknown = names.filter { !asked.contains($0) }
        guard !unknown.isEmpty else { return }
        let known = asked.subtracting(fixed).sorted().map { "\"\($0)\"" }.joined(separator: ", ")
        let fields = known.isEmpty ? "there are none" : "the fields are \(known)"
        for name in unknown.prefix(CollectedFaults.limit) {
            reject(name, "unknown_field", "is not a field here; \(fields)")
        }
        asked.formUnion(unknown)
    }

    private static func lastName(of pointer: String) -> String {
        pointer.split(separator: "/").last.map(String.init) ?? ""
    }

    private final class CollectedFaults {
        /// Faults beyond these tell nobody anything new.
        static let limit = 100
        private(set) var faults: [FieldFault] = []

        func add(_ fault: FieldFault) {
            guard faults.count < Self.limit else { return }
            faults.append(fault)
        }
    }
}

// MARK: Keys and texts

extension JSONObjectReader {
    /// A required `ResourceKey`.
    package func key(_ name: String) -> String {
        let requirement = "must be \(ResourceKey.expectation)"
        guard let value = present(name) else {
            rejectMissing(name, requirement)
            return ""
        }
        return checkedKey(name, value) ?? ""
    }

    package func optionalKey(_ name: String) -> String? {
        present(name).flatMap { checkedKey(name, $0) }
    }

    private func checkedKey(_ name: String, _ value: JSONValue) -> String? {
        guard let text = text(name, value) else { return nil }
        guard ResourceKey.isValid(text) else {
            reject(name, "invalid_key", "must be \(ResourceKey.expectation)")
            return nil
        }
        return text
    }

    /// A required string; its length is counted in characters.
    package func string(_ name: String, minimumLength: Int = 1, maximumLength: Int = 200) -> String {
        guard let value = present(name) else {
            rejectMissing(name, "must be a string")
            return ""
        }
        return boundedText(name, value, minimumLength, maximumLength) ?? ""
    }

    package func string(
        _ name: String,
        default fallback: String,
        minimumLength: Int = 0,
        maximumLength: Int = 200
    ) -> String {
        optionalString(name, minimumLength: minimumLength, maximumLength: maximumLength) ?? fallback
    }

    package func optionalString(_ name: String, minimumLength: Int = 1, maximumLength: Int = 200) -> String? {
        present(name).flatMap { boundedText(name, $0, minimumLength, maximumLength) }
    }

    /// An array of distinct strings; absent is empty unless a minimum count asks for some.
    package func strings(
        _ name: String,
        minimumCount: Int = 0,
        maximumCount: Int = 100,
        maximumLength: Int = 200
    ) -> [String] {
        guard let elements = array(name, minimumCount: minimumCount, maximumCount: maximumCount) else { return [] }
        var texts: [String] = []
        var seen: Set<ExactText> = []
        for (index, element) in elements.enumerated() {
            let path = "\(JSONPointer.escaped(name))/\(index)"
            guard case .string(let text) = element, !text.isEmpty, text.unicodeScalars.count <= maximumLength else {
                fault(
                    at: path,
                    code: "invalid_element",
                    detail: "each of \"\(name)\" must be a string of 1 to \(maximumLength) characters"
                )
                continue
            }
            guard seen.insert(ExactText(text)).inserted else {
                fault(at: path, code: "duplicate", detail: "\"\(name)\" must not hold the same string twice")
                continue
            }
            texts.append(text)
        }
        return texts
    }

    func text(_ name: String, _ value: JSONValue) -> String? {
        guard case .string(let text) = value else {
            reject(name, "invalid_type", "must be a string, not \(value.kindName)")
            return nil
        }
        return text
    }

    private func boundedText(_ name: String, _ value: JSONValue, _ minimum: Int, _ maximum: Int) -> String? {
        guard let text = text(name, value) else { return nil }
        let length = text.unicodeScalars.count
        if length < minimum {
            reject(name, "too_short", minimum == 1 ? "must not be empty" : "must have at least \(minimum) characters")
            return nil
        }
        if length > maximum {
            reject(name, "too_long", "must have at most \(maximum) characters, not \(length)")
            return nil
        }
        return text
    }
}
