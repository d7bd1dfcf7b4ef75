/// A one-dimensional array. Elements may be optional; an array of arrays is a programming error.
///
/// The binary form (`array_send` in PostgreSQL's arrayfuncs.c) is the number of dimensions, whether there are nulls,
/// the element type, then length and lower bound of the dimension, then each element behind its length (-1 for `NULL`).
extension Array: PostgresEncodable where Element: PostgresEncodable {
    @inlinable package static var postgresType: PostgresType { Element.postgresArrayType }

    @inlinable package static var postgresArrayType: PostgresType {
        preconditionFailure("PostgreSQL arrays are bound in one dimension only")
    }

    @inlinable package var postgresSizeBound: Int {
        var bound = 20 + 4 * count
        for element in self {
            bound += element.postgresSizeBound
        }
        return bound
    }

    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        destination.storeBigEndian(Int32(isEmpty ? 0 : 1))
        destination.storeBigEndian(Element.postgresType.rawValue, at: 8)
        guard !isEmpty else {
            destination.storeBigEndian(Int32(0), at: 4)
            return 12
        }
        destination.storeBigEndian(Int32(truncatingIfNeeded: count), at: 12)
        destination.storeBigEndian(Int32(1), at: 16)
        var offset = 20
        var hasNull = false
        for element in self {
            if element.isPostgresNull {
                hasNull = true
                destination.storeBigEndian(Int32(-1), at: offset)
                offset += 4
            } else {
                let length = element.encodePostgres(to: destination + offset + 4)
                destination.storeBigEndian(Int32(truncatingIfNeeded: length), at: offset)
                offset += 4 + length
            }
        }
        destination.storeBigEndian(Int32(hasNull ? 1 : 0), at: 4)
        return offset
    }
}

extension Array: PostgresDecodable where Element: PostgresDecodable {
    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        guard bytes.count >= 12 else { return nil }
        let dimensions = bytes.loadBigEndian(Int32.self)
        let elementType = PostgresType(rawValue: bytes.loadBigEndian(UInt32.self, at: 8))
        guard dimensions != 0 else {
            self = []
            return
        }
        guard dimensions == 1, bytes.count >= 20 else { return nil }
        let count = Int(bytes.loadBigEndian(Int32.self, at: 12))
        guard count >= 0, count <= (bytes.count - 20) / 4 else { return nil }
        var elements: [Element] = []
        elements.reserveCapacity(count)
        var offset = 20
        for _ in 0..<count {
            guard bytes.count - offset >= 4 else { return nil }
            let length = Int(bytes.loadBigEndian(Int32.self, at: offset))
            offset += 4
            if length < 0 {
                guard let null = Element.postgresNull else { return nil }
                elements.append(null)
                continue
            }
            guard bytes.count - offset >= length else { return nil }
            let field = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
            guard let element = Element(postgresBytes: field, type: elementType) else { return nil }
            elements.append(element)
            offset += length
        }
        self = elements
    }
}
