/// The object identifier of a PostgreSQL type, as the protocol names it.
@usableFromInline package struct PostgresType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    @usableFromInline package let rawValue: UInt32

    @inlinable
    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Types that `CREATE TYPE` made (enums above all) start here; their binary form is not known to the driver.
    @inlinable package var isUserDefined: Bool { rawValue >= 16_384 }

    @usableFromInline package var description: String { "type \(rawValue)" }

    @inlinable package static var bool: PostgresType { PostgresType(rawValue: 16) }
    @inlinable package static var bytea: PostgresType { PostgresType(rawValue: 17) }
    @inlinable package static var name: PostgresType { PostgresType(rawValue: 19) }
    @inlinable package static var int8: PostgresType { PostgresType(rawValue: 20) }
    @inlinable package static var int2: PostgresType { PostgresType(rawValue: 21) }
    @inlinable package static var int4: PostgresType { PostgresType(rawValue: 23) }
    @inlinable package static var text: PostgresType { PostgresType(rawValue: 25) }
    @inlinable package static var json: PostgresType { PostgresType(rawValue: 114) }
    @inlinable package static var float8: PostgresType { PostgresType(rawValue: 701) }
    @inlinable package static var unknown: PostgresType { PostgresType(rawValue: 705) }
    @inlinable package static var bpchar: PostgresType { PostgresType(rawValue: 1042) }
    @inlinable package static var varchar: PostgresType { PostgresType(rawValue: 1043) }
    @inlinable package static var timestamptz: PostgresType { PostgresType(rawValue: 1184) }
    @inlinable package static var numeric: PostgresType { PostgresType(rawValue: 1700) }
    @inlinable package static var uuid: PostgresType { PostgresType(rawValue: 2950) }
    @inlinable package static var jsonb: PostgresType { PostgresType(rawValue: 3802) }

    @inlinable package static var boolArray: PostgresType { PostgresType(rawValue: 1000) }
    @inlinable package static var byteaArray: PostgresType { PostgresType(rawValue: 1001) }
    @inlinable package static var int2Array: PostgresType { PostgresType(rawValue: 1005) }
    @inlinable package static var int4Array: PostgresType { PostgresType(rawValue: 1007) }
    @inlinable package static var textArray: PostgresType { PostgresType(rawValue: 1009) }
    @inlinable package static var int8Array: PostgresType { PostgresType(rawValue: 1016) }
    @inlinable package static var float8Array: PostgresType { PostgresType(rawValue: 1022) }
    @inlinable package static var timestamptzArray: PostgresType { PostgresType(rawValue: 1185) }
    @inlinable package static var numericArray: PostgresType { PostgresType(rawValue: 1231) }
    @inlinable package static var uuidArray: PostgresType { PostgresType(rawValue: 2951) }
    @inlinable package static var jsonbArray: PostgresType { PostgresType(rawValue: 3807) }
}
