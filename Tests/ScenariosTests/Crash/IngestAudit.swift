import BillingCore
import Postgres
import TestSupport
import Usage
import Web

/// Holds what is stored, and what the API makes of it, against what was acknowledged to the senders.
struct IngestAudit {
    let databaseURL: String
    let client: TestClient
    let clock: Clock

    /// Sums and counts of a tenant's usage.
    private struct Totals: Equatable, CustomStringConvertible {
        var events = 0
        var tokens = 0

        var description: String { "\(events) events with \(tokens) tokens" }
    }

    /// What is wrong, a line for each finding: nothing when every acknowledged event counts exactly once, everywhere.
    func findings(_ acknowledged: Set<SentEvent>) async throws -> [String] {
        var expected: [String: Totals] = [:]
        for event in acknowledged {
            expected[event.tenant, default: Totals()].events += 1
            expected[event.tenant, default: Totals()].tokens += event.tokens
        }
        var findings = try await log(acknowledged)
        for (tenant, totals) in expected.sorted(by: { $0.key < $1.key }) {
            findings += try await api(tenant, totals)
        }
        return findings + (try await verification())
    }

    /// The raw log: every acknowledged event once, and no other.
    private func log(_ acknowledged: Set<SentEvent>) async throws -> [String] {
        let pool = PostgresPool(PostgresConfiguration(url: databaseURL).asOwner(), logger: .silent)
        let stored = try await pool.query(
            .worker,
            """
            SELECT tenant.key, event.source, event.event_id, coalesce(event.output_tokens, 0), count(*)
            FROM usage_event AS event
            JOIN tenant ON tenant.tenant_id = event.tenant_id
            GROUP BY tenant.key, event.source, event.event_id, event.output_tokens
            """
        ) { row throws(PostgresError) in
            let event = SentEvent(
                tenant: try row.next(),
                source: try row.next(),
                id: try row.next(),
                tokens: Int(try row.next(Int64.self))
            )
            return (event, try row.next(Int64.self))
        }
        await pool.close()
        let names = Set(stored.map(\.0))
        return acknowledged.subtracting(names).map { "lost: \($0)" }
            + names.subtracting(acknowledged).map { "never acknowledged: \($0)" }
            + stored.filter { $0.1 != 1 }.map { "stored \($0.1) times: \($0.0)" }
    }

    /// Quotas and the upcoming invoice, which read the counters.
    private func api(_ tenant: String, _ expected: Totals) async throws -> [String] {
        struct Quota: Decodable { let used: String }
        struct Invoice: Decodable {
            struct Line: Decodable {
                let feature: String?
                let quantity: String?
                let amountUnrounded: String
            }
            let lines: [Line]
        }
        var findings: [String] = []
        let path = "/api/v1/tenants/\(tenant)"
        let used = try await client.get("\(path)/quotas/tokens").decoded(Quota.self).used
        if used != "\(expected.tokens)" { findings.append("\(tenant): quota used \(used), sent \(expected)") }
        let lines = try await client.get("\(path)/upcoming-invoice").decoded(Invoice.self).lines
        let tokens = lines.first { $0.feature == "tokens" }
        // At 0.0001 a token, so ten thousand to the unit.
        let cents = String(expected.tokens % 10_000 + 10_000).dropFirst()
        let amount = "\(expected.tokens / 10_000).\(cents)00000000"
        if tokens?.quantity != "\(expected.tokens)" || tokens?.amountUnrounded != amount {
            findings.append("\(tenant): invoiced \(tokens.map { "\($0)" } ?? "nothing"), sent \(expected)")
        }
        let requests = lines.first { $0.feature == "requests" }?.quantity
        if requests != "\(expected.events)" {
            findings.append("\(tenant): \(requests ?? "no") requests, sent \(expected)")
        }
        return findings
    }

    /// The counters rebuilt from the raw log.
    private func verification() async throws -> [String] {
        let pool = PostgresPool(PostgresConfiguration(url: databaseURL), logger: .silent)
        var differences: [String] = []
        try await UsageVerification(pool: pool, clock: clock, operatorZone: .utc).run(
            difference: { differences.append("verification: \($0)") },
            progress: { _ in }
        )
        await pool.close()
        return differences
    }
}

/// The catalogue that the senders' events are rated by.
enum CrashCatalogue {
    static func make(_ client: TestClient) async throws {
        var requests = IngestSenders.tenants.map { tenant in
            ("/api/v1/tenants", #"{"key": "\#(tenant)", "name": "\#(tenant)", "currency": "USD"}"#)
        }
        requests += [
            (
                "/api/v1/meters",
                #"{"key": "tokens", "event_type": "llm.completion", "aggregation": "sum", "value": "output_tokens"}"#
            ),
            ("/api/v1/meters", #"{"key": "requests", "event_type": "llm.completion", "aggregation": "count"}"#),
            ("/api/v1/features", #"{"key": "tokens", "name": "Tokens", "meter": "tokens", "unit": "token"}"#),
            ("/api/v1/features", #"{"key": "requests", "name": "Requests", "meter": "requests", "unit": "request"}"#),
            ("/api/v1/plans", #"{"key": "crash", "name": "Crash", "currency": "USD"}"#),
            (
                "/api/v1/plans/crash/versions",
                """
                {"interval": "month",
                 "charges": [
                   {"feature": "tokens", "price": {"model": "per_unit", "unit_amount": "0.0001"}},
                   {"feature": "requests", "price": {"model": "graduated", "tiers": [
                     {"up_to": "100", "unit_amount": "0"}, {"up_to": null, "unit_amount": "0.01"}]}}],
                 "quotas": [{"feature": "tokens", "limit": "100000000", "window": "billing_period",
                             "mode": "hard", "overage": "denied"}]}
                """
            ),
        ]
        for (path, body) in requests { try await client.post(path, body).expecting(201) }
        try await client.post("/api/v1/plans/crash/versions/1/publish").expecting(200)
        for tenant in IngestSenders.tenants {
            let subscription = #"{"tenant": "\#(tenant)", "plan": "crash", "version": 1}"#
            try await client.post("/api/v1/subscriptions", subscription).expecting(201)
        }
    }
}
