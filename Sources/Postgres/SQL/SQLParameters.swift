/// The parameters of one statement: their types, and their binary forms one after the other in one buffer.
@usableFromInline
struct SQLParameters: Sendable {
    /// Where a parameter lies in the buffer, and where its placeholder lies in the text.
    @usableFromInline
    struct Entry: Sendable {
        @usableFromInline let type: PostgresType
        @usableFromInline let start: Int
        /// In bytes; -1 for `NULL`.
        @usableFromInline let length: Int
        @usableFromInline let textRange: Range<Int>

        @inlinable
        init(type: PostgresType, start: Int, length: Int, textRange: Range<Int>) {
            self.type = type
            self.start = start
            self.length = length
            self.textRange = textRange
        }
    }

    @usableFromInline private(set) var entries: [Entry] = []
    @usableFromInline private(set) var buffer = ParameterBuffer(minimumCapacity: 64)

    @usableFromInline
    init() {}

    @usableFromInline
    mutating func reserve(bytes: Int) -> UnsafeMutableRawPointer {
        if !isKnownUniquelyReferenced(&buffer) || buffer.capacity - buffer.count < bytes {
            buffer = ParameterBuffer(copying: buffer, minimumCapacity: max(buffer.count + bytes, buffer.count * 2))
        }
        return buffer.end
    }

    @usableFromInline
    mutating func commit(type: PostgresType, length: Int, textRange: Range<Int>) {
        entries.append(Entry(type: type, start: buffer.count, length: length, textRange: textRange))
        buffer.count += max(0, length)
    }

    /// Encodes a value behind the others. Specialised where it is called, so that an array is one loop.
    @inlinable
    mutating func append<Value: PostgresEncodable>(_ value: Value, textRange: Range<Int>) {
        guard !value.isPostgresNull else {
            commit(type: Value.postgresType, length: -1, textRange: textRange)
            return
        }
        let destination = reserve(bytes: value.postgresSizeBound)
        let length = value.encodePostgres(to: destination)
        commit(type: Value.postgresType, length: length, textRange: textRange)
    }

    /// The same, with their placeholders so much further on in the text.
    func moved(by offset: Int) -> SQLParameters {
        guard offset > 0 else { return self }
        var moved = self
        moved.entries = entries.map { entry in
            let range = (entry.textRange.lowerBound + offset)..<(entry.textRange.upperBound + offset)
            return Entry(type: entry.type, start: entry.start, length: entry.length, textRange: range)
        }
        return moved
    }

    /// Appends one parameter of another statement as it was encoded there.
    mutating func append(_ entry: Entry, of other: SQLParameters, textRange: Range<Int>) {
        let length = max(0, entry.length)
        reserve(bytes: length).copyMemory(from: other.buffer.base + entry.start, byteCount: length)
        commit(type: entry.type, length: entry.length, textRange: textRange)
    }
}

/// Uninitialised memory that grows by being copied; the bytes before `count` are initialised.
///
/// `@unchecked Sendable`: it is written only by `SQLParameters`, and there only while uniquely referenced, so a buffer
/// that two threads can reach is never written.
@usableFromInline
final class ParameterBuffer: @unchecked Sendable {
    @usableFromInline let base: UnsafeMutableRawPointer
    @usableFromInline let capacity: Int
    @usableFromInline var count = 0

    @usableFromInline
    init(minimumCapacity: Int) {
        base = .allocate(byteCount: minimumCapacity, alignment: 16)
        capacity = minimumCapacity
    }

    convenience init(copying other: ParameterBuffer, minimumCapacity: Int) {
        self.init(minimumCapacity: minimumCapacity)
        base.copyMemory(from: other.base, byteCount: other.count)
        count = other.count
    }

    deinit {
        base.deallocate()
    }

    var end: UnsafeMutableRawPointer { base + count }
}
