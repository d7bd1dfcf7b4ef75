package import Postgres

extension EventKey: PostgresConvertible {
    package var postgres: PostgresUUID { PostgresUUID(high: high, low: low) }

    package init(postgres: PostgresUUID) {
        self.init(high: postgres.high, low: postgres.low)
    }
}
