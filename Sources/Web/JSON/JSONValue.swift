/// A JSON document in memory: for configuration bodies, not for the event path.
package indirect enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    /// The number as it was written; it never passes through a Double.
    case number(String)
    case string(String)
    case array([JSONValue])
    /// Members in the order they were written, each name once.
    case object([JSONMember])

    /// Parses one document under `JSONLimits`. The fault carries its pointer.
    package init(
        parsing bytes: UnsafeRawBufferPointer,
        maximumBytes: Int = JSONLimits.bytes,
        numberCharacters: Int = JSONLimits.numberCharacters
    ) throws(JSONFault) {
        guard bytes.count <= maximumBytes else { throw JSONFault(offset: maximumBytes, reason: .tooLarge) }
        var scanner = JSONScanner(bytes, numberCharacters: numberCharacters)
        do {
            self = try scanner.scanValue()
            try scanner.finish()
        } catch {
            throw error.located(in: bytes)
        }
    }

    package init(parsing bytes: [UInt8], maximumBytes: Int = JSONLimits.bytes) throws(JSONFault) {
        let result = bytes.withUnsafeBytes { raw in
            Result { () throws(JSONFault) in try JSONValue(parsing: raw, maximumBytes: maximumBytes) }
        }
        self = try result.get()
    }

    package init(parsing text: String, maximumBytes: Int = JSONLimits.bytes) throws(JSONFault) {
        try self.init(parsing: Array(text.utf8), maximumBytes: maximumBytes)
    }

    /// Parses what PostgreSQL wrote from `jsonb`: an accepted number comes back without its exponent.
    package init(stored text: String) throws(JSONFault) {
        let bytes = Array(text.utf8)
        let result = bytes.withUnsafeBytes { raw in
            Result { () throws(JSONFault) in
                try JSONValue(parsing: raw, numberCharacters: JSONLimits.storedNumberCharacters)
            }
        }
        self = try result.get()
    }

    /// The value of the member, when this is an object that has it.
    package subscript(_ name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// What a person would call this kind of value.
    package var kindName: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

package struct JSONMember: Hashable, Sendable {
    package let name: String
    package let value: JSONValue

    package init(name: String, value: JSONValue) {
        self.name = name
        self.value = value
    }
}

extension JSONScanner {
    /// Reads the next value whole.
    package mutating func scanValue() throws(JSONFault) -> JSONValue {
        let kind = try peek()
        switch kind {
        case .null, .true, .false:
            try scanLiteral(kind)
            return kind == .null ? .null : .bool(kind == .true)
        case .string:
            return .string(string(try scanString()))
        case .number:
            let number = try scanNumber()
            return .number(String(decoding: bytes[number.start..<number.end], as: UTF8.self))
        case .array:
            var elements: [JSONValue] = []
            var progress = try beginArray()
            while try nextElement(&progress) {
                elements.append(try scanValue())
            }
            return .array(elements)
        case .object:
            var members: [JSONMember] = []
            var progress = try beginObject()
            while let key = try nextKey(&progress) {
                members.append(JSONMember(name: string(key.text), value: try scanValue()))
            }
            return .object(members)
        }
    }
}
