extension JSONScanner {
    /// Validates the next value, leaves it behind and returns the hash of its meaning: the order of members, white
    /// space, escapes and the spelling of numbers do not change it.
    @discardableResult
    @inlinable package mutating func skipValue() throws(JSONFault) -> UInt64 {
        let kind = try peek()
        switch kind {
        case .string: return JSONHash.mix(hash(of: try scanString()), JSONHashTag.string)
        case .number: return JSONHash.mix(try scanNumber().hash, JSONHashTag.number)
        case .object: return try skipObject()
        case .array: return try skipArray()
        case .true, .false, .null:
            try scanLiteral(kind)
            return JSONHashTag.literal(kind)
        }
    }

    @usableFromInline mutating func skipObject() throws(JSONFault) -> UInt64 {
        var members = JSONMembersHash()
        var progress = try beginObject()
        while let key = try nextKey(&progress) {
            members.add(key: key.hash, value: try skipValue())
        }
        return members.value
    }

    @usableFromInline mutating func skipArray() throws(JSONFault) -> UInt64 {
        var hash = JSONHashTag.array
        var progress = try beginArray()
        while try nextElement(&progress) {
            hash = JSONHash.mix(hash, try skipValue())
        }
        return JSONHash.mix(hash, JSONHashTag.array)
    }
}

/// The hash of an object: a sum over its members, so that their order does not matter.
@usableFromInline package struct JSONMembersHash: Sendable {
    @usableFromInline var sum: UInt64 = 0
    @usableFromInline package var count: UInt64 = 0

    @inlinable package init() {}

    @inlinable package mutating func add(key: UInt64, value: UInt64) {
        sum &+= JSONHash.mix(key, value)
        count += 1
    }

    @inlinable package var value: UInt64 {
        JSONHash.mix(sum, JSONHashTag.object &+ count)
    }
}

/// What keeps values of different kinds apart.
@usableFromInline package enum JSONHashTag {
    @inlinable package static var string: UInt64 { 0x73 }
    @inlinable package static var number: UInt64 { 0x6E }
    @inlinable package static var array: UInt64 { 0x61 }
    @inlinable package static var object: UInt64 { 0x6F_0000_0000 }

    @inlinable package static func literal(_ kind: JSONKind) -> UInt64 {
        switch kind {
        case .true: JSONHash.mix(1, 0x6C)
        case .false: JSONHash.mix(2, 0x6C)
        default: JSONHash.mix(3, 0x6C)
        }
    }
}
