import BillingCore
import Postgres
import TestSupport
import Testing

@testable import Webhooks

/// Lists of deliveries.
@Suite struct DeliveryLogTests {
    @Test("a list of what failed or was canceled reads about as many as it shows", arguments: [nil, 7 as Int64])
    func plan(tenant: Int64?) async throws {
        try await DeliveryStory.run(urls: [], events: 0) { queue in
            for owner in [7, 8] as [Int64] { try await queue.addEndpoint("chat", "https://example.com/", of: owner) }
            // The oldest failed or were canceled, and few are of tenant 7.
            try await queue.database.run(
                """
                INSERT INTO webhook_delivery (tenant_id, delivery_id, endpoint_key, event_tenant_id, event_id,
                    event_type, status, attempt_count, failure_count, next_attempt_at, created_at, finished_at)
                SELECT CASE WHEN n % 50 = 0 THEN 7 ELSE 8 END, lpad(to_hex(n), 32, '0')::uuid, 'chat', n,
                    gen_random_uuid(), 'limit.reached',
                    CASE WHEN n > 2000 THEN 'succeeded' WHEN n % 20 < 10 THEN 'failed' ELSE 'canceled' END,
                    1, 1, '2026-11-23T07:00:00Z', '2026-11-23T07:00:00Z', '2026-11-23T07:00:00Z'
                FROM generate_series(1, 20000) n;
                ANALYZE webhook_delivery
                """
            )
            for status in [DeliveryStatus.failed, .canceled] {
                let filter = DeliveryLog.Filter(tenant: tenant.map { TenantID($0) }, status: status)
                let page = DeliveryLog.page(filter, before: nil, count: 21)
                let scope = tenant.map { PostgresScope.tenant($0) } ?? .service
                let plan = try await QueryPlan(of: page, as: scope, executing: true, queue.pool)
                #expect(plan.rowsTouched > 0 && plan.rowsTouched <= 60, "\(status): \(plan.rowsTouched) \(plan)")
            }
        }
    }
}
