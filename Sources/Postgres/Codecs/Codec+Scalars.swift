extension UnsafeMutableRawPointer {
    @inlinable
    func storeBigEndian<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, at offset: Int = 0) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: Value.self)
    }
}

extension UnsafeRawBufferPointer {
    /// The integer at `offset`; the caller has checked the bounds.
    @inlinable
    func loadBigEndian<Value: FixedWidthInteger & BitwiseCopyable>(_: Value.Type, at offset: Int = 0) -> Value {
        Value(bigEndian: loadUnaligned(fromByteOffset: offset, as: Value.self))
    }

    /// An `int2`, `int4` or `int8` field, whichever it is.
    @inlinable
    func loadInteger(_ type: PostgresType) -> Int64? {
        switch (type, count) {
        case (.int8, 8): loadBigEndian(Int64.self)
        case (.int4, 4): Int64(loadBigEndian(Int32.self))
        case (.int2, 2): Int64(loadBigEndian(Int16.self))
        default: nil
        }
    }
}

extension Bool: PostgresEncodable, PostgresDecodable {
    @inlinable package static var postgresType: PostgresType { .bool }
    @inlinable package static var postgresArrayType: PostgresType { .boolArray }
    @inlinable package var postgresSizeBound: Int { 1 }

    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        destination.storeBytes(of: self ? 1 : 0, as: UInt8.self)
        return 1
    }

    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        guard type == .bool, bytes.count == 1 else { return nil }
        self = bytes[0] != 0
    }
}

extension Int16: PostgresEncodable, PostgresDecodable {
    @inlinable package static var postgresType: PostgresType { .int2 }
    @inlinable package static var postgresArrayType: PostgresType { .int2Array }
    @inlinable package var postgresSizeBound: Int { 2 }

    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        destination.storeBigEndian(self)
        return 2
    }

    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        guard type == .int2, bytes.count == 2 else { return nil }
        self = bytes.loadBigEndian(Int16.self)
    }
}

extension Int32: PostgresEncodable, PostgresDecodable {
    @inlinable package static var postgresType: PostgresType { .int4 }
    @inlinable package static var postgresArrayType: PostgresType { .int4Array }
    @inlinable package var postgresSizeBound: Int { 4 }

    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        destination.storeBigEndian(self)
        return 4
    }

    /// Accepts `int4` and the narrower `int2`.
    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        guard type == .int4 || type == .int2, let value = bytes.loadInteger(type) else { return nil }
        self = Int32(truncatingIfNeeded: value)
    }
}

extension Int64: PostgresEncodable, PostgresDecodable {
    @inlinable package static var postgresType: PostgresType { .int8 }
    @inlinable package static var postgresArrayType: PostgresType { .int8Array }
    @inlinable package var postgresSizeBound: Int { 8 }

    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        destination.storeBigEndian(self)
        return 8
    }

    /// Accepts `int8` and the narrower integers.
    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        guard let value = bytes.loadInteger(type) else { return nil }
        self = value
    }
}

/// `Int` is `int8`.
extension Int: PostgresConvertible {
    @inlinable package var postgres: Int64 { Int64(self) }

    @inlinable
    package init?(postgres: Int64) {
        self.init(exactly: postgres)
    }
}

/// `float8`, for statistics only: no amount and no quantity is ever a floating-point number.
extension Double: PostgresEncodable, PostgresDecodable {
    @inlinable package static var postgresType: PostgresType { .float8 }
    @inlinable package static var postgresArrayType: PostgresType { .float8Array }
    @inlinable package var postgresSizeBound: Int { 8 }

    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        destination.storeBigEndian(bitPattern)
        return 8
    }

    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        guard type == .float8, bytes.count == 8 else { return nil }
        self.init(bitPattern: bytes.loadBigEndian(UInt64.self))
    }
}
