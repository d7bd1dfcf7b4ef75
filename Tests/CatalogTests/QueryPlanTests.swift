import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Catalog

/// Every statement on the way to a tenant's snapshot must find its rows by an index, however many tenants there are.
@Suite struct QueryPlanTests {
    private struct Plan: Sendable {
        let text: String
        let nodes: [String]

        var usesIndexesOnly: Bool {
            nodes.contains { $0.contains("Index") } && !nodes.contains("Seq Scan")
        }
    }

    private static func plan(_ statement: SQL, _ fixture: CatalogFixture) async throws -> Plan {
        let texts = try await fixture.transaction { transaction in
            try transaction.query("EXPLAIN (FORMAT JSON) \(statement)") { row throws(PostgresError) in
                try row.next(PostgresJSON.self).text
            }
        }
        let text = try #require(texts.first)
        return Plan(text: text, nodes: nodes(in: try JSONValue(parsing: text)))
    }

    private static func nodes(in value: JSONValue) -> [String] {
        switch value {
        case .array(let elements): elements.flatMap(nodes)
        case .object(let members):
            members.flatMap { member in
                member.name == "Node Type" ? [member.value.string ?? ""] : nodes(in: member.value)
            }
        default: []
        }
    }

    @Test func theHotStatementsUseIndexes() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(20_000)
            try await fixture.subscribeEverybody()
            try await fixture.database.run(
                """
                INSERT INTO meter (meter_id, key, name, event_type, aggregation, definition, created_version,
                    created_at, updated_at, revision)
                VALUES (1, 'm', 'm', 'e', 'count', '{}', 1, now(), now(), 1);
                INSERT INTO feature (feature_id, key, name, meter_id, filters, unit, created_version, created_at,
                    updated_at, revision)
                VALUES (1, 'f', 'f', 1, '[]', 'unit', 1, now(), now(), 1);
                INSERT INTO usage_limit (tenant_id, limit_id, feature_id, window_kind, amount, mode, overage,
                    revision, active)
                SELECT tenant_id, tenant_id, 1, 'month', 1, 'hard', 'denied', 1, true FROM tenant;
                INSERT INTO billing_period (tenant_id, billing_period_id, subscription_id, period_index, starts_at,
                    ends_at, status)
                SELECT tenant_id, tenant_id, subscription_id, 0, starts_at, '2026-02-01Z', 'open' FROM subscription;
                ANALYZE;
                """
            )
            let ids = (1...50).map { TenantID(Int64($0 * 7)) }
            let subscription = SubscriptionID(rawValue: UUIDv7(milliseconds: 1, random: (1, 1)))
            let wanted = BillingPeriod.Wanted(
                tenantID: TenantID(1),
                subscriptionID: subscription,
                index: 0,
                interval: Interval(start: fixture.clock.now, end: fixture.clock.now.adding(seconds: 1))
            )
            let statements: [(String, SQL)] = [
                ("subjects", SubjectDirectory.lookup(of: ids.map { "s\($0)" })),
                ("tenants", TenantSnapshotStore.tenants(ids)),
                ("subscriptions", TenantSnapshotStore.subscriptions(ids)),
                ("periods", TenantSnapshotStore.periods(ids, endingAfter: fixture.clock.now)),
                ("segments", SubscriptionSegmentStore.segments(ofTenants: ids)),
                ("limits", TenantSnapshotStore.limits(ids)),
                ("versions", TenantLedger.versions(of: ids)),
                ("wanted periods", BillingPeriodStore.reading([wanted])),
            ]
            for (name, statement) in statements {
                let plan = try await Self.plan(statement, fixture)
                #expect(plan.usesIndexesOnly, "\(name): \(plan.text)")
            }
        }
    }
}
