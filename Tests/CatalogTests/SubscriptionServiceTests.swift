import BillingCore
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Catalog

@Suite struct SubscriptionServiceTests {
    private struct Refusal: Error {}

    private static func input(start: String) throws -> SubscriptionInput {
        SubscriptionInput(tenant: "t1", plan: "pro", version: nil, startsAt: try Instant(parsing: start))
    }

    private static let id = SubscriptionID(rawValue: UUIDv7(milliseconds: 1, random: (1, 1)))

    private static func arrange(_ fixture: CatalogFixture) async throws {
        try await fixture.addTenants(1)
        try await fixture.subscribeEverybody()
        try await fixture.database.run("DELETE FROM subscription_segment; DELETE FROM subscription")
    }

    private static func service(
        _ fixture: CatalogFixture,
        rate: @escaping @Sendable (SubscriptionStart) throws -> Void
    ) -> SubscriptionService {
        SubscriptionService(
            catalog: fixture.catalog,
            usage: StoredUsageAccess(rate: { _, start in try rate(start) }, latest: { _, _, _ in nil })
        )
    }

    @Test func earlierUsageIsRatedInTheSameTransactionOnAConsistentView() async throws {
        try await CatalogFixture.run { fixture in
            try await Self.arrange(fixture)
            let seen = Mutex<SubscriptionStart?>(nil)
            let service = Self.service(fixture) { start in seen.withLock { $0 = start } }
            let input = try Self.input(start: "2026-10-01T00:00:00Z")
            let now = fixture.clock.now
            let made = try await fixture.transaction {
                try service.create(input, id: Self.id, boundTo: nil, now: now, in: $0)
            }
            let start = try #require(seen.withLock { $0 })
            #expect(start.ratesFrom == made.after.startsAt)
            #expect(start.tenant.id == TenantID(1))
            #expect(start.subscription.id == made.after.id)
            #expect(start.tenant.subscriptions.map(\.id) == [made.after.id])
            #expect(start.tenant.catalogVersion > 1)
            #expect(start.catalog.version == 1)
        }
    }

    @Test func aFailureToRateLeavesNoSubscription() async throws {
        try await CatalogFixture.run { fixture in
            try await Self.arrange(fixture)
            let service = Self.service(fixture) { _ in throw Refusal() }
            let input = try Self.input(start: "2026-10-01T00:00:00Z")
            let now = fixture.clock.now
            await #expect(throws: Refusal.self) {
                try await fixture.transaction {
                    _ = try service.create(input, id: Self.id, boundTo: nil, now: now, in: $0)
                }
            }
            let found = try await fixture.transaction { try SubscriptionStore.find(Self.id, in: $0) != nil }
            #expect(!found)
        }
    }
}
