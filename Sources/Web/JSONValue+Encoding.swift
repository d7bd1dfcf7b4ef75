import Synchronization

extension JSONValue {
    /// The tree of a response body. Property names become snake case and are sorted; an absent optional is an
    /// explicit `null`; the keys of a `[String: ...]` dictionary stay as they are; decimals, instants and
    /// identifiers become strings.
    package init(encoding value: any Encodable) throws {
        self = try Self.tree(of: value)
    }

    fileprivate static func tree(of value: any Encodable) throws -> JSONValue {
        switch value {
        case let json as JSONValue:
            return json
        default:
            let encoder = TreeEncoder(keepsNames: value is any StringKeyed)
            try value.encode(to: encoder)
            return encoder.slot.tree
        }
    }
}

extension JSONValue: Encodable {
    /// A value passes through this module's own encoder unchanged and is foreign to any other.
    package func encode(to encoder: any Encoder) throws {
        let context = EncodingError.Context(
            codingPath: encoder.codingPath,
            debugDescription: "needs JSONValue's encoder"
        )
        throw EncodingError.invalidValue(self, context)
    }

    /// An object whose members stand in the order given.
    package static func members(_ pairs: KeyValuePairs<String, JSONValue>) -> JSONValue {
        .object(pairs.map { JSONMember(name: $0.key, value: $0.value) })
    }

    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(512)
        write(to: &bytes)
        return bytes
    }
}

private protocol StringKeyed {}
extension Dictionary: StringKeyed where Key == String {}

/// Where a value under construction stands. Containers are filled after they were handed out, hence a reference.
private final class Slot {
    enum Content {
        case empty
        case leaf(JSONValue)
        case elements([Slot])
        case members([String: Slot])
    }

    var content: Content = .empty

    var tree: JSONValue {
        switch content {
        case .empty: .object([])
        case .leaf(let tree): tree
        case .elements(let slots): .array(slots.map(\.tree))
        case .members(let slots):
            .object(
                slots.sorted { $0.key < $1.key }.map { JSONMember(name: $0.key, value: $0.value.tree) }
            )
        }
    }

    func member(_ name: String) -> Slot {
        let slot = Slot()
        if case .members(var members) = content {
            content = .empty
            members[name] = slot
            content = .members(members)
        } else {
            content = .members([name: slot])
        }
        return slot
    }

    func element() -> Slot {
        let slot = Slot()
        if case .elements(var elements) = content {
            content = .empty
            elements.append(slot)
            content = .elements(elements)
        } else {
            content = .elements([slot])
        }
        return slot
    }

    var count: Int {
        if case .elements(let elements) = content { elements.count } else { 0 }
    }
}

private struct TreeEncoder: Encoder {
    let slot: Slot
    let keepsNames: Bool
    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    init(keepsNames: Bool, slot: Slot = Slot()) {
        self.keepsNames = keepsNames
        self.slot = slot
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        if case .empty = slot.content { slot.content = .members([:]) }
        return KeyedEncodingContainer(MemberContainer<Key>(slot: slot, keepsNames: keepsNames))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        if case .empty = slot.content { slot.content = .elements([]) }
        return ElementContainer(slot: slot)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer {
        LeafContainer(slot: slot)
    }
}

private struct MemberContainer<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let slot: Slot
    let keepsNames: Bool
    var codingPath: [any CodingKey] { [] }

    private func set(_ tree: JSONValue, _ key: Key) {
        slot.member(name(key)).content = .leaf(tree)
    }

    private func name(_ key: any CodingKey) -> String {
        keepsNames ? key.stringValue : SnakeCase.converted(key.stringValue)
    }

    func encodeNil(forKey key: Key) { set(.null, key) }
    func encode<T: Encodable>(_ value: T, forKey key: Key) throws { set(try JSONValue.tree(of: value), key) }

    func encodeIfPresent<T: Encodable>(_ value: T?, forKey key: Key) throws {
        set(try value.map { try JSONValue.tree(of: $0) } ?? .null, key)
    }
    func encodeIfPresent(_ value: Bool?, forKey key: Key) { set(value.map(JSONValue.bool) ?? .null, key) }
    func encodeIfPresent(_ value: String?, forKey key: Key) { set(value.map(JSONValue.string) ?? .null, key) }
    func encodeIfPresent(_ value: Double?, forKey key: Key) throws {
        set(try value.map { try JSONValue.tree(of: $0) } ?? .null, key)
    }
    func encodeIfPresent(_ value: Float?, forKey key: Key) throws {
        try encodeIfPresent(value.map(Double.init), forKey: key)
    }
    func encodeIfPresent(_ value: Int?, forKey key: Key) { setInteger(value, key) }
    func encodeIfPresent(_ value: Int8?, forKey key: Key) { setInteger(value, key) }
    func encodeIfPresent(_ value: Int16?, forKey key: Key) { setInteger(value, key) }
    func encodeIfPresent(_ value: Int32?, forKey key: Key) { setInteger(value, key) }
    func encodeIfPresent(_ value: Int64?, forKey key: Key) { setInteger(value, key) }
    func encodeIfPresent(_ value: UInt?, forKey key: Key) { setInteger(value, key) }
    func encodeIfPresent(_ value: UInt8?, forKey key: Key) { setInteger(value, key) }
    func encodeIfPresent(_ value: UInt16?, forKey key: Key) { setInteger(value, key) }
    func encodeIfPresent(_ value: UInt32?, forKey key: Key) { setInteger(value, key) }
    func encodeIfPresent(_ value: UInt64?, forKey key: Key) { setInteger(value, key) }

    private func setInteger<I: BinaryInteger>(_ value: I?, _ key: Key) {
        set(value.map { .number(String($0)) } ?? .null, key)
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type,
        forKey key: Key
    ) -> KeyedEncodingContainer<Nested> {
        TreeEncoder(keepsNames: keepsNames, slot: slot.member(name(key))).container(keyedBy: type)
    }
    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        TreeEncoder(keepsNames: keepsNames, slot: slot.member(name(key))).unkeyedContainer()
    }
    func superEncoder() -> any Encoder { TreeEncoder(keepsNames: keepsNames, slot: slot.member("super")) }
    func superEncoder(forKey key: Key) -> any Encoder {
        TreeEncoder(keepsNames: keepsNames, slot: slot.member(name(key)))
    }
}

private struct ElementContainer: UnkeyedEncodingContainer {
    let slot: Slot
    var codingPath: [any CodingKey] { [] }
    var count: Int { slot.count }

    func encodeNil() { slot.element().content = .leaf(.null) }
    func encode<T: Encodable>(_ value: T) throws { slot.element().content = .leaf(try JSONValue.tree(of: value)) }
    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
        TreeEncoder(keepsNames: false, slot: slot.element()).container(keyedBy: type)
    }
    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
        TreeEncoder(keepsNames: false, slot: slot.element()).unkeyedContainer()
    }
    func superEncoder() -> any Encoder { TreeEncoder(keepsNames: false, slot: slot.element()) }
}

/// The scalars arrive here: `encode(to:)` of a Bool, a String or a number asks for a single-value container.
private struct LeafContainer: SingleValueEncodingContainer {
    let slot: Slot
    var codingPath: [any CodingKey] { [] }

    func encodeNil() { slot.content = .leaf(.null) }
    func encode(_ value: Bool) { slot.content = .leaf(.bool(value)) }
    func encode(_ value: String) { slot.content = .leaf(.string(value)) }
    func encode(_ value: Double) throws {
        guard value.isFinite else {
            let context = EncodingError.Context(codingPath: [], debugDescription: "JSON has no \(value)")
            throw EncodingError.invalidValue(value, context)
        }
        slot.content = .leaf(.number("\(value)"))
    }
    func encode(_ value: Float) throws { try encode(Double(value)) }
    func encode(_ value: Int) { set(value) }
    func encode(_ value: Int8) { set(value) }
    func encode(_ value: Int16) { set(value) }
    func encode(_ value: Int32) { set(value) }
    func encode(_ value: Int64) { set(value) }
    func encode(_ value: UInt) { set(value) }
    func encode(_ value: UInt8) { set(value) }
    func encode(_ value: UInt16) { set(value) }
    func encode(_ value: UInt32) { set(value) }
    func encode(_ value: UInt64) { set(value) }
    func encode<T: Encodable>(_ value: T) throws { slot.content = .leaf(try JSONValue.tree(of: value)) }

    private func set(_ value: some BinaryInteger) { slot.content = .leaf(.number(String(value))) }
}

/// `unitAmount` -> `unit_amount`, `instanceURL` -> `instance_url`.
enum SnakeCase {
    /// The names of properties, of which there are few; they are converted for every answer.
    private static let known = Mutex<[String: String]>([:])

    static func converted(_ name: String) -> String {
        known.withLock { known in
            if let converted = known[name] { return converted }
            let converted = convert(name)
            known[name] = converted
            return converted
        }
    }

    private static func convert(_ name: String) -> String {
        let characters = Array(name)
        guard characters.contains(where: \.isUppercase) else { return name }
        var result = ""
        for (index, character) in characters.enumerated() {
            if character.isUppercase, index > 0 {
                let followsLower = !characters[index - 1].isUppercase && characters[index - 1] != "_"
                let startsWord =
                    characters[index - 1].isUppercase && index + 1 < characters.count
                    && characters[index + 1].isLowercase
                if followsLower || startsWord { result.append("_") }
            }
            result.append(contentsOf: character.lowercased())
        }
        return result
    }
}
