/// A `uuid` as its two halves, most significant first.
@usableFromInline package struct PostgresUUID: Hashable, Sendable {
    @usableFromInline package let high: UInt64
    @usableFromInline package let low: UInt64

    @inlinable
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

extension PostgresUUID: PostgresEncodable, PostgresDecodable {
    @inlinable package static var postgresType: PostgresType { .uuid }
    @inlinable package static var postgresArrayType: PostgresType { .uuidArray }
    @inlinable package var postgresSizeBound: Int { 16 }

    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        destination.storeBigEndian(high)
        destination.storeBigEndian(low, at: 8)
        return 16
    }

    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        guard type == .uuid, bytes.count == 16 else { return nil }
        self.init(high: bytes.loadBigEndian(UInt64.self), low: bytes.loadBigEndian(UInt64.self, at: 8))
    }
}

/// A `timestamptz`: microseconds since 1970-01-01T00:00:00Z.
///
/// `infinity` and `-infinity` have no value here: reading them is a decoding error. An instant outside PostgreSQL's own
/// range (4713 BC to 294276 AD) is refused by the server when it is bound.
@usableFromInline package struct PostgresTimestamp: Hashable, Sendable {
    @usableFromInline package let microseconds: Int64

    @inlinable
    package init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    /// 2000-01-01T00:00:00Z, from which PostgreSQL counts.
    @usableFromInline static let serverEpochMicroseconds: Int64 = 946_684_800_000_000
}

extension PostgresTimestamp: PostgresEncodable, PostgresDecodable {
    @inlinable package static var postgresType: PostgresType { .timestamptz }
    @inlinable package static var postgresArrayType: PostgresType { .timestamptzArray }
    @inlinable package var postgresSizeBound: Int { 8 }

    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        let (shifted, overflow) = microseconds.subtractingReportingOverflow(Self.serverEpochMicroseconds)
        // The least value would mean -infinity; the one above it is out of the server's range and refused.
        destination.storeBigEndian(overflow ? Int64.min + 1 : max(shifted, Int64.min + 1))
        return 8
    }

    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        guard type == .timestamptz, bytes.count == 8 else { return nil }
        let stored = bytes.loadBigEndian(Int64.self)
        let (microseconds, overflow) = stored.addingReportingOverflow(Self.serverEpochMicroseconds)
        guard !overflow, stored != .min else { return nil }
        self.init(microseconds: microseconds)
    }
}
