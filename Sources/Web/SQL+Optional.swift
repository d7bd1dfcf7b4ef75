package import Postgres

extension SQL.StringInterpolation {
    /// Binds a value that may be NULL. It does what the interpolation of any value does; said for optionals, because the
    /// compiler otherwise takes an optional in a literal for an oversight.
    package mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value?) {
        bindOptional(value)
    }

    private mutating func bindOptional<Value: PostgresEncodable>(_ value: Value) {
        appendInterpolation(value)
    }
}
