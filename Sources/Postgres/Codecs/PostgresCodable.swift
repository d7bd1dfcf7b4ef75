/// A value that can be bound to a statement. It writes PostgreSQL's binary format straight into the parameter buffer.
///
/// A type defined in another module joins through ``PostgresConvertible`` rather than by conforming here.
@usableFromInline package protocol PostgresEncodable: Sendable {
    /// The type the server is told the parameter has.
    static var postgresType: PostgresType { get }

    /// The type of an array of these.
    static var postgresArrayType: PostgresType { get }

    /// Whether the value is SQL `NULL`; nothing is then encoded.
    var isPostgresNull: Bool { get }

    /// An upper bound, in bytes, of what `encodePostgres` writes.
    var postgresSizeBound: Int { get }

    /// Writes the binary form to `destination`, which has `postgresSizeBound` bytes, and returns the bytes written.
    func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int
}

extension PostgresEncodable {
    @inlinable package var isPostgresNull: Bool { false }
}

/// One field of a result row: its bytes, `nil` when it is `NULL`, and its type. Valid only while it is being decoded.
@usableFromInline package struct PostgresField {
    @usableFromInline package let bytes: UnsafeRawBufferPointer?
    @usableFromInline package let type: PostgresType

    @inlinable
    package init(bytes: UnsafeRawBufferPointer?, type: PostgresType) {
        self.bytes = bytes
        self.type = type
    }
}

/// A value that can be read from a result in PostgreSQL's binary format.
@usableFromInline package protocol PostgresDecodable: Sendable {
    /// Decodes a field that is not `NULL`; `nil` when its type or its bytes are not of this kind of value.
    init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType)

    /// What `NULL` decodes to; `nil` when it can't be represented, as in everything but `Optional`.
    static var postgresNull: Self? { get }
}

extension PostgresDecodable {
    @inlinable package static var postgresNull: Self? { nil }
}

/// A type stored as another one that already has a codec: an identifier as its integer, an instant as a timestamp.
@usableFromInline package protocol PostgresConvertible: PostgresEncodable, PostgresDecodable {
    associatedtype PostgresRepresentation: PostgresEncodable & PostgresDecodable

    /// `nil` when the stored value is not a valid one; the row's reader then gets a decoding error.
    init?(postgres: PostgresRepresentation)

    var postgres: PostgresRepresentation { get }
}

extension PostgresConvertible {
    @inlinable package static var postgresType: PostgresType { PostgresRepresentation.postgresType }
    @inlinable package static var postgresArrayType: PostgresType { PostgresRepresentation.postgresArrayType }
    @inlinable package var isPostgresNull: Bool { postgres.isPostgresNull }
    @inlinable package var postgresSizeBound: Int { postgres.postgresSizeBound }

    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        postgres.encodePostgres(to: destination)
    }

    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        guard let stored = PostgresRepresentation(postgresBytes: bytes, type: type) else { return nil }
        self.init(postgres: stored)
    }
}

/// Enumerations are stored by their names.
extension PostgresConvertible where Self: RawRepresentable, RawValue == String {
    @inlinable
    package init?(postgres: String) {
        self.init(rawValue: postgres)
    }

    @inlinable package var postgres: String { rawValue }
}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    @inlinable package static var postgresType: PostgresType { Wrapped.postgresType }
    @inlinable package static var postgresArrayType: PostgresType { Wrapped.postgresArrayType }

    @inlinable package var isPostgresNull: Bool {
        switch self {
        case .none: true
        case .some(let value): value.isPostgresNull
        }
    }

    @inlinable package var postgresSizeBound: Int {
        switch self {
        case .none: 0
        case .some(let value): value.postgresSizeBound
        }
    }

    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        switch self {
        case .none: 0
        case .some(let value): value.encodePostgres(to: destination)
        }
    }
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    @inlinable package static var postgresNull: Wrapped?? { .some(.none) }

    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        guard let value = Wrapped(postgresBytes: bytes, type: type) else { return nil }
        self = .some(value)
    }
}
