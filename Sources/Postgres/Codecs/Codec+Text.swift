extension String: PostgresEncodable, PostgresDecodable {
    @inlinable package static var postgresType: PostgresType { .text }
    @inlinable package static var postgresArrayType: PostgresType { .textArray }
    @inlinable package var postgresSizeBound: Int { utf8.count }

    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        var contiguous = self
        return contiguous.withUTF8 { utf8 in
            guard let source = utf8.baseAddress else { return 0 }
            destination.copyMemory(from: source, byteCount: utf8.count)
            return utf8.count
        }
    }

    /// Accepts every character type and user-defined types (an enum's binary form is its label).
    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        switch type {
        case .text, .varchar, .bpchar, .name, .unknown, .json: break
        default: guard type.isUserDefined else { return nil }
        }
        self.init(decoding: bytes, as: UTF8.self)
    }
}

/// A `jsonb` value as its text. The server parses and normalises it: keys come back sorted by length, then by bytes.
@usableFromInline package struct PostgresJSON: Hashable, Sendable {
    @usableFromInline package let text: String

    @inlinable
    package init(text: String) {
        self.text = text
    }
}

extension PostgresJSON: PostgresEncodable, PostgresDecodable {
    @inlinable package static var postgresType: PostgresType { .jsonb }
    @inlinable package static var postgresArrayType: PostgresType { .jsonbArray }
    @inlinable package var postgresSizeBound: Int { text.utf8.count + 1 }

    /// The binary form of `jsonb` is a version byte, 1, and the text.
    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        destination.storeBytes(of: 1, as: UInt8.self)
        return 1 + text.encodePostgres(to: destination + 1)
    }

    /// Accepts `jsonb` and `json`.
    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        switch type {
        case .json:
            self.init(text: String(decoding: bytes, as: UTF8.self))
        case .jsonb:
            guard bytes.first == 1 else { return nil }
            self.init(text: String(decoding: bytes.dropFirst(), as: UTF8.self))
        default:
            return nil
        }
    }
}

/// A `bytea` value.
@usableFromInline package struct PostgresBytes: Hashable, Sendable {
    @usableFromInline package let bytes: [UInt8]

    @inlinable
    package init(bytes: [UInt8]) {
        self.bytes = bytes
    }
}

extension PostgresBytes: PostgresEncodable, PostgresDecodable {
    @inlinable package static var postgresType: PostgresType { .bytea }
    @inlinable package static var postgresArrayType: PostgresType { .byteaArray }
    @inlinable package var postgresSizeBound: Int { bytes.count }

    @inlinable
    package func encodePostgres(to destination: UnsafeMutableRawPointer) -> Int {
        bytes.withUnsafeBytes { source in
            guard let base = source.baseAddress else { return 0 }
            destination.copyMemory(from: base, byteCount: source.count)
            return source.count
        }
    }

    @inlinable
    package init?(postgresBytes bytes: UnsafeRawBufferPointer, type: PostgresType) {
        guard type == .bytea else { return nil }
        self.init(bytes: Array(bytes))
    }
}
