// MARK: Objects, arrays and free-form JSON

extension JSONObjectReader {
    /// A required object; nil, with a fault, when it is missing. Members that the closure does not ask for are faults.
    package func object<T>(_ name: String, _ read: (JSONObjectReader) throws -> T) rethrows -> T? {
        guard contains(name) else {
            rejectMissing(name, "must be an object")
            return nil
        }
        return try optionalObject(name, read)
    }

    package func optionalObject<T>(_ name: String, _ read: (JSONObjectReader) throws -> T) rethrows -> T? {
        guard let value = present(name) else { return nil }
        guard case .object = value else {
            reject(name, "invalid_type", "must be an object, not \(value.kindName)")
            return nil
        }
        return try nested(value, at: JSONPointer.escaped(name), read)
    }

    /// An array of objects, each read by the closure; absent is empty unless a minimum count asks for some.
    package func objects<T>(
        _ name: String,
        minimumCount: Int = 0,
        maximumCount: Int = 100,
        _ read: (JSONObjectReader) throws -> T
    ) rethrows -> [T] {
        guard let elements = array(name, minimumCount: minimumCount, maximumCount: maximumCount) else { return [] }
        var results: [T] = []
        for (index, element) in elements.enumerated() {
            let path = "\(JSONPointer.escaped(name))/\(index)"
            guard case .object = element else {
                let detail = "each of \"\(name)\" must be an object, not \(element.kindName)"
                fault(at: path, code: "invalid_type", detail: detail)
                continue
            }
            results.append(try nested(element, at: path, read))
        }
        return results
    }

    /// An object whose names are free and whose values are strings, in the order written; absent is empty.
    package func stringMap(
        _ name: String,
        maximumCount: Int = 50,
        maximumLength: Int = 200
    ) -> [(name: String, value: String)] {
        guard let members = freeMembers(name, maximumCount: maximumCount) else { return [] }
        var result: [(name: String, value: String)] = []
        for member in members {
            guard case .string(let text) = member.value, !text.isEmpty, text.unicodeScalars.count <= maximumLength
            else {
                fault(
                    at: JSONPointer.escaped(name) + "/" + JSONPointer.escaped(member.name),
                    code: "invalid_element",
                    detail: "\"\(member.name)\" in \"\(name)\" must be a string of 1 to \(maximumLength) characters"
                )
                continue
            }
            result.append((member.name, text))
        }
        return result
    }

    /// A free-form object as compact JSON text, for a `jsonb` column; absent is `{}`.
    package func metadata(_ name: String, maximumBytes: Int = 16 * 1024) -> String {
        guard let members = freeMembers(name, maximumCount: .max) else { return "{}" }
        let text = JSONValue.object(members).text
        guard text.utf8.count <= maximumBytes else {
            reject(name, "too_long", "must be at most \(maximumBytes) bytes of JSON")
            return "{}"
        }
        return text
    }

    /// A value of any kind, which the caller judges; nil when absent or null.
    package func json(_ name: String) -> JSONValue? {
        present(name)
    }

    func array(_ name: String, minimumCount: Int, maximumCount: Int) -> [JSONValue]? {
        guard let value = present(name) else {
            if minimumCount > 0 { rejectMissing(name, "must be an array") }
            return nil
        }
        guard case .array(let elements) = value else {
            reject(name, "invalid_type", "must be an array, not \(value.kindName)")
            return nil
        }
        guard elements.count >= minimumCount else {
            reject(name, "too_few", "must have at least \(minimumCount) element\(minimumCount == 1 ? "" : "s")")
            return nil
        }
        guard elements.count <= maximumCount else {
            reject(name, "too_many", "must have at most \(maximumCount) elements, not \(elements.count)")
            return nil
        }
        return elements
    }

    private func freeMembers(_ name: String, maximumCount: Int) -> [JSONMember]? {
        guard let value = present(name) else { return nil }
        guard case .object(let members) = value else {
            reject(name, "invalid_type", "must be an object, not \(value.kindName)")
            return nil
        }
        guard members.count <= maximumCount else {
            reject(name, "too_many", "must have at most \(maximumCount) members, not \(members.count)")
            return nil
        }
        return members
    }
}
