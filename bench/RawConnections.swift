import Postgres

/// What two connections reach that do nothing but transactions of one kind, each when the last is committed.
enum RawConnections {
    /// Planned as the service's own connections for events and admissions plan.
    static func connection(to url: String) throws -> PostgresConnection {
        var configuration = PostgresConfiguration(url: url)
        configuration.plansForKeyLookups = true
        return try PostgresConnection(configuration, name: "raw")
    }

    static func commit(_ statements: [SQL], on connection: PostgresConnection) async throws {
        try await connection.transaction { transaction in
            for statement in statements { transaction.enqueue(statement) }
        }
    }

    /// How many rows they reach in a second. A first transaction of each, which connects and plans, doesn't count.
    /// - Parameters:
    ///   - batch: how many rows a transaction has.
    ///   - statements: those of one, by the connection's number and how many rows it has made before.
    static func perSecond(
        _ url: String,
        seconds: Double,
        batch: Int,
        statements: @escaping @Sendable (_ lane: Int64, _ before: Int64) -> [SQL]
    ) async throws -> Double {
        try await withThrowingTaskGroup(of: Double.self) { group in
            for lane in 0..<Int64(2) {
                group.addTask {
                    let connection = try Self.connection(to: url)
                    try await commit(statements(lane, 0), on: connection)
                    let start = ContinuousClock.now
                    var rows = 0
                    while ContinuousClock.now < start + .seconds(seconds) {
                        rows += batch
                        try await commit(statements(lane, Int64(rows)), on: connection)
                    }
                    return Double(rows) / ((ContinuousClock.now - start) / .seconds(1))
                }
            }
            return try await group.reduce(0, +)
        }
    }
}
