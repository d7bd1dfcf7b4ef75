import BillingCore
import Postgres
import TestSupport

/// Soft limits of every tenant of `IngestSenders`, what the usage sent makes of them, and what the database holds.
/// A row is named `tenant limit window`, and an alert besides by its threshold; that of usage without a cost, which
/// theirs is, by tenant and kind.
struct AlertAudit {
    private enum Window: String {
        case period = "billing_period"
        case lifetime, minute
    }

    private struct SoftLimit {
        let name: String
        let window: Window
        let countsTokens: Bool
        let amount: Int
        let thresholds: [Int]
    }

    /// The feature's own thresholds are those of every quota; the last one of a budget is never reached.
    private static let limits = [
        SoftLimit(name: "tokens", window: .period, countsTokens: true, amount: 200_000, thresholds: [50, 80, 100]),
        SoftLimit(
            name: "calls",
            window: .lifetime,
            countsTokens: false,
            amount: 500,
            thresholds: [10, 20, 30, 40, 50, 60, 70, 80, 90, 1_000]
        ),
        SoftLimit(
            name: "minutely",
            window: .minute,
            countsTokens: true,
            amount: 100_000,
            thresholds: [5, 15, 25, 35, 45, 55, 65, 75, 85, 1_000]
        ),
    ]

    /// As what the alerts are told.
    static let eventTypes = ["budget.threshold_crossed", "usage.unpriced"]

    let databaseURL: String

    static func makeLimits(_ client: TestClient) async throws {
        for limit in limits {
            switch limit.window {
            case .period:
                for tenant in IngestSenders.tenants {
                    let path = "/api/v1/tenants/\(tenant)/quotas/tokens?window=billing_period"
                    let quota = #"{"limit": "\#(limit.amount)", "mode": "soft"}"#
                    try await client.put(path, quota).expecting(200)
                }
            case .lifetime, .minute:
                let feature = limit.countsTokens ? #", "feature": "tokens""# : ""
                let budget = """
                    {"key": "\(limit.name)", "scope": {"tenant": "*"\(feature)}, "mode": "soft",
                     "measure": "\(limit.countsTokens ? "units" : "requests")", "amount": "\(limit.amount)",
                     "window": "\(limit.window.rawValue)", "thresholds": \(limit.thresholds)}
                    """
                try await client.post("/api/v1/budgets", budget).expecting(201)
            }
        }
    }

    /// What the events that were sent use of each row.
    static func used(by events: Set<SentEvent>, time: (SentEvent) -> Instant?) -> [String: Int] {
        var used: [String: Int] = [:]
        for event in events {
            for limit in limits {
                var window = "-"
                if limit.window == .minute, let time = time(event) {
                    window = "\(time.microseconds / 60_000_000 * 60)"
                }
                used["\(event.tenant) \(limit.name) \(window)", default: 0] += limit.countsTokens ? event.tokens : 1
            }
        }
        return used
    }

    /// The alerts that are due where so much is used.
    static func alerts(where used: [String: Int]) -> Set<String> {
        crossed(where: used).union(IngestSenders.tenants.map { "\($0) unpriced_usage" })
    }

    static func crossed(where used: [String: Int]) -> Set<String> {
        Set(
            used.flatMap { row, used in
                limits.filter { row.split(separator: " ")[1] == $0.name }.flatMap { limit in
                    limit.thresholds.filter { used * 100 >= limit.amount * $0 }.map { "\(row) \($0)" }
                }
            }
        )
    }

    /// What is used of each row.
    func used() async throws -> [String: Int] {
        let rows = try await query("SELECT \(Self.row), trim_scale(used)::text \(Self.rows)")
        return Dictionary(rows.map { ($0.0, Int($0.1) ?? -1) }) { _, _ in -1 }
    }

    /// What each row has noted to have fired.
    func noted() async throws -> Set<String> {
        let rows = try await query(
            "SELECT \(Self.row), trim_scale(fired)::text \(Self.rows) CROSS JOIN unnest(thresholds_fired) AS fired"
        )
        return Set(rows.map { "\($0.0) \($0.1)" })
    }

    private static let row: SQL = """
        tenant.key || ' ' || names.name || ' ' || CASE names.name
            WHEN 'minutely' THEN extract(epoch FROM window_start)::bigint::text ELSE '-' END
        """
    private static let rows: SQL = """
        FROM limit_state
        JOIN tenant USING (tenant_id)
        JOIN (
            SELECT limit_id, key AS name FROM budget
            UNION SELECT limit_id, feature.key FROM usage_limit JOIN feature USING (feature_id)
        ) AS names USING (limit_id)
        """

    /// Every alert there is, of whatever kind, with its id.
    func alerts() async throws -> [(name: String, id: String)] {
        try await query(
            """
            SELECT coalesce(tenant_key || ' ' || (detail->>'limit') || ' ' || CASE detail->>'limit'
                    WHEN 'minutely' THEN extract(epoch FROM window_start)::bigint::text ELSE '-' END
                    || ' ' || trim_scale(threshold), tenant_key || ' ' || kind, kind), alert_id::text
            FROM alert
            """
        ).map { (name: $0.0, id: $0.1) }
    }

    /// How many deliveries there are by status.
    func deliveries() async throws -> [String: Int] {
        let rows = try await query("SELECT status, count(*)::text FROM webhook_delivery GROUP BY status")
        return Dictionary(uniqueKeysWithValues: rows.map { ($0.0, Int($0.1) ?? -1) })
    }

    private func query(_ statement: SQL) async throws -> [(String, String)] {
        try await PostgresDatabase.pairs(statement, at: databaseURL)
    }
}
