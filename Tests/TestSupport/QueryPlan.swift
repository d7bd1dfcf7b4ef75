package import Postgres
import Web

/// How PostgreSQL carries a statement out, planned with the values that it has.
package struct QueryPlan: Sendable, CustomStringConvertible {
    package let description: String
    private var nodes: [String] = []
    /// How many rows were read from tables and indexes, those too that a condition then threw away.
    package private(set) var rowsTouched = 0

    package init(
        of statement: SQL,
        as scope: PostgresScope = .service,
        executing: Bool = false,
        on lane: PostgresLane = .worker,
        _ pool: PostgresPool
    ) async throws {
        let explain: SQL = executing ? "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON)" : "EXPLAIN (FORMAT JSON)"
        let texts = try await pool.query(lane, as: scope, "\(explain) \(statement)") {
            row throws(PostgresError) in try row.next(PostgresJSON.self).text
        }
        description = texts.joined()
        visit(try JSONValue(parsing: description))
    }

    /// No table is read whole.
    package var usesIndexesOnly: Bool {
        nodes.contains { $0.contains("Index") } && !nodes.contains("Seq Scan")
    }

    private mutating func visit(_ value: JSONValue) {
        switch value {
        case .array(let elements):
            for element in elements { visit(element) }
        case .object(let members):
            if let node = value["Node Type"]?.string {
                nodes.append(node)
                if node.hasSuffix("Scan") { rowsTouched += Self.rows(value) }
            }
            for member in members { visit(member.value) }
        default: break
        }
    }

    private static func rows(_ node: JSONValue) -> Int {
        func count(_ name: String) -> Double { node[name]?.number.flatMap { Double($0) } ?? 0 }
        return Int((count("Actual Rows") + count("Rows Removed by Filter")) * count("Actual Loops"))
    }
}
