/// Reads JSON (RFC 8259) in one pass over bytes, strictly, without allocating for structure.
///
/// The caller asks for what it expects: `peek` tells the kind of the next value, `beginObject` and `nextKey` walk an
/// object, `skipValue` validates what is not wanted. Every rule of the grammar and of `JSONLimits` holds for skipped
/// values too, duplicate names included. The bytes must outlive the scanner. A fault carries its offset; its pointer is
/// found afterwards by `JSONFault.located(in:)`, so that good input pays nothing for it.
@usableFromInline package struct JSONScanner {
    @usableFromInline package let bytes: UnsafeRawBufferPointer
    @usableFromInline package var position = 0
    @usableFromInline let numberCharacters: Int
    @usableFromInline var depth = 0
    /// The names of all objects that are open, innermost last.
    @usableFromInline var openKeys: [JSONKey] = []

    @inlinable package init(_ bytes: UnsafeRawBufferPointer, numberCharacters: Int = JSONLimits.numberCharacters) {
        let count = min(bytes.count, Int(Int32.max))
        self.bytes = UnsafeRawBufferPointer(rebasing: bytes[..<count])
        self.numberCharacters = numberCharacters
        openKeys.reserveCapacity(16)
    }

    /// The kind of the next value, which starts at `position` afterwards.
    @inlinable package mutating func peek() throws(JSONFault) -> JSONKind {
        skipWhitespace()
        guard position < bytes.count else { throw fault(.unexpectedEnd) }
        switch bytes[position] {
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): return .number
        case UInt8(ascii: "t"): return .true
        case UInt8(ascii: "f"): return .false
        case UInt8(ascii: "n"): return .null
        default: throw fault(.unexpectedCharacter)
        }
    }

    /// Requires that nothing but white space is left.
    @inlinable package mutating func finish() throws(JSONFault) {
        skipWhitespace()
        guard position == bytes.count else { throw fault(.trailingContent) }
    }

    @inlinable @inline(__always) package mutating func skipWhitespace() {
        while position < bytes.count {
            let byte = bytes[position]
            guard byte <= 0x20, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return }
            position += 1
        }
    }

    @inline(never) @usableFromInline package func fault(_ reason: JSONFault.Reason) -> JSONFault {
        JSONFault(offset: position, reason: reason)
    }

    @inline(never) @usableFromInline package func fault(_ reason: JSONFault.Reason, at offset: Int) -> JSONFault {
        JSONFault(offset: offset, reason: reason)
    }
}

@usableFromInline package enum JSONKind: Sendable {
    case object, array, string, number, `true`, `false`, null
}

/// A member name as scanned, with the hash of its decoded bytes.
@usableFromInline package struct JSONKey {
    @usableFromInline package let text: JSONText
    @usableFromInline package let hash: UInt64

    @inlinable init(text: JSONText, hash: UInt64) {
        self.text = text
        self.hash = hash
    }
}

/// How far an object or array has been read.
@usableFromInline package struct JSONProgress {
    @usableFromInline let mark: Int
    @usableFromInline var isFirst = true

    @inlinable init(mark: Int) {
        self.mark = mark
    }
}

// MARK: Structure

extension JSONScanner {
    /// Enters the object at `position`.
    @inlinable package mutating func beginObject() throws(JSONFault) -> JSONProgress {
        try enter()
        return JSONProgress(mark: openKeys.count)
    }

    /// The next member's name, with `position` at its value; nil after the last one, with the object left behind.
    @inlinable package mutating func nextKey(_ progress: inout JSONProgress) throws(JSONFault) -> JSONKey? {
        guard try continues(&progress, until: UInt8(ascii: "}")) else {
            try leaveObject(progress.mark)
            return nil
        }
        guard position < bytes.count else { throw fault(.unexpectedEnd) }
        guard bytes[position] == UInt8(ascii: "\"") else { throw fault(.unexpectedCharacter) }
        let text = try scanString()
        let key = JSONKey(text: text, hash: hash(of: text))
        openKeys.append(key)
        skipWhitespace()
        guard position < bytes.count else { throw fault(.unexpectedEnd) }
        guard bytes[position] == UInt8(ascii: ":") else { throw fault(.unexpectedCharacter) }
        position += 1
        skipWhitespace()
        return key
    }

    /// Enters the array at `position`.
    @inlinable package mutating func beginArray() throws(JSONFault) -> JSONProgress {
        try enter()
        return JSONProgress(mark: openKeys.count)
    }

    /// Whether another element follows, with `position` at it; false after the last one, with the array left behind.
    @inlinable package mutating func nextElement(_ progress: inout JSONProgress) throws(JSONFault) -> Bool {
        guard try continues(&progress, until: UInt8(ascii: "]")) else {
            depth -= 1
            return false
        }
        return true
    }

    @inlinable mutating func enter() throws(JSONFault) {
        guard depth < JSONLimits.depth else { throw fault(.tooDeep) }
        depth += 1
        position += 1
    }

    @inlinable @inline(__always) mutating func continues(_ progress: inout JSONProgress, until end: UInt8)
        throws(JSONFault) -> Bool
    {
        skipWhitespace()
        guard position < bytes.count else { throw fault(.unexpectedEnd) }
        if bytes[position] == end {
            position += 1
            return false
        }
        if progress.isFirst {
            progress.isFirst = false
            return true
        }
        guard bytes[position] == UInt8(ascii: ",") else { throw fault(.unexpectedCharacter) }
        position += 1
        skipWhitespace()
        guard position < bytes.count else { throw fault(.unexpectedEnd) }
        guard bytes[position] != end else { throw fault(.unexpectedCharacter) }
        return true
    }

    @inlinable package mutating func scanLiteral(_ kind: JSONKind) throws(JSONFault) {
        switch kind {
        case .true: try scanLiteral("true")
        case .false: try scanLiteral("false")
        default: try scanLiteral("null")
        }
    }

    @usableFromInline mutating func scanLiteral(_ word: StaticString) throws(JSONFault) {
        for index in 0..<word.utf8CodeUnitCount {
            guard position < bytes.count else { throw fault(.unexpectedEnd) }
            guard bytes[position] == word.utf8Start[index] else { throw fault(.unexpectedCharacter) }
            position += 1
        }
    }
}

// MARK: Duplicate names

extension JSONScanner {
    @usableFromInline mutating func leaveObject(_ mark: Int) throws(JSONFault) {
        depth -= 1
        let count = openKeys.count - mark
        if count > 1, let duplicate = count <= 16 ? duplicateAmongFew(mark) : duplicateAmongMany(mark) {
            throw fault(.duplicateKey, at: duplicate.text.start)
        }
        openKeys.removeLast(count)
    }

    func duplicateAmongFew(_ mark: Int) -> JSONKey? {
        openKeys.withUnsafeBufferPointer { keys in
            for later in (mark + 1)..<keys.count {
                let hash = keys[later].hash
                for earlier in mark..<later where keys[earlier].hash == hash {
                    if order(keys[earlier].text, keys[later].text) == 0 {
                        return keys[later]
                    }
                }
            }
            return nil
        }
    }

    /// Sorts, so that an object of many names, even ones chosen for equal hashes, costs n log n.
    func duplicateAmongMany(_ mark: Int) -> JSONKey? {
        let sorted = openKeys[mark...].sorted { left, right in
            if left.hash != right.hash {
                return left.hash < right.hash
            }
            let order = order(left.text, right.text)
            return order == 0 ? left.text.start < right.text.start : order < 0
        }
        for index in sorted.indices.dropFirst() {
            let (previous, key) = (sorted[index - 1], sorted[index])
            if previous.hash == key.hash, order(previous.text, key.text) == 0 {
                return key
            }
        }
        return nil
    }
}
