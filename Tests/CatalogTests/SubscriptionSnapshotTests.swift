import BillingCore
import Testing

@testable import Catalog

@Suite struct SubscriptionSnapshotTests {
    private static let plan = PlanVersion(
        id: PlanVersionID(1),
        planID: PlanID(1),
        planKey: "pro",
        planName: "Pro",
        version: 1,
        currency: .usd,
        definition: PlanDefinition()
    )

    private static func instant(_ text: String) throws -> Instant {
        try Instant(parsing: text)
    }

    private func subscription(from start: String, to end: String? = nil, near: String) throws -> SubscriptionSnapshot {
        SubscriptionSnapshot(
            id: SubscriptionID(rawValue: UUIDv7(milliseconds: 1, random: (1, 1))),
            planVersion: Self.plan,
            periods: BillingPeriods(anchor: try Self.instant(start), zone: .utc),
            startsAt: try Self.instant(start),
            endsAt: try end.map(Self.instant),
            near: try Self.instant(near)
        )
    }

    @Test(arguments: [
        ("2026-01-31T00:00:00Z", 0), ("2026-02-27T23:59:59Z", 0), ("2026-02-28T00:00:00Z", 1),
        ("2026-03-31T00:00:00Z", 2),
        ("2026-11-23T08:00:00Z", 9), ("2026-12-31T00:00:00Z", 11), ("2030-01-30T23:00:00Z", 47),
    ])
    func findsThePeriodNearAndFar(time: String, index: Int) throws {
        let subscription = try subscription(from: "2026-01-31T00:00:00Z", near: "2026-11-23T08:00:00Z")
        let found = subscription.period(containing: try Self.instant(time))
        #expect(found?.index == index)
        #expect(found?.interval == subscription.periods.interval(index))
    }

    @Test func hasNoPeriodOutsideItself() throws {
        let subscription = try subscription(
            from: "2026-01-31T00:00:00Z",
            to: "2026-03-15T00:00:00Z",
            near: "2026-03-01T00:00:00Z"
        )
        #expect(subscription.period(containing: try Self.instant("2026-01-30T23:59:59Z")) == nil)
        #expect(subscription.period(containing: try Self.instant("2026-03-15T00:00:00Z")) == nil)
        #expect(subscription.period(containing: try Self.instant("2026-03-14T23:59:59.999999Z"))?.index == 1)
    }

    @Test func aTenantAnswersByTheSubscriptionInForce() throws {
        let first = try subscription(
            from: "2026-01-01T00:00:00Z",
            to: "2026-03-01T00:00:00Z",
            near: "2026-03-01T00:00:00Z"
        )
        let second = try subscription(from: "2026-04-01T00:00:00Z", near: "2026-04-01T00:00:00Z")
        let tenant = TenantSnapshot(
            id: TenantID(1),
            key: "t",
            name: "T",
            currency: .usd,
            zone: .utc,
            catalogVersion: 1,
            subscriptions: [first, second]
        )
        #expect(tenant.subscription(covering: try Self.instant("2026-02-01T00:00:00Z"))?.startsAt == first.startsAt)
        #expect(tenant.subscription(covering: try Self.instant("2026-03-01T00:00:00Z")) == nil)
        #expect(tenant.subscription(covering: try Self.instant("2027-02-01T00:00:00Z"))?.startsAt == second.startsAt)
    }

    @Test func periodIDsAreFoundByIndexAndBounded() {
        let ids = BillingPeriodIDs(
            Dictionary(uniqueKeysWithValues: (0..<40).map { ($0, BillingPeriodID(Int64($0) + 100)) })
        )
        #expect(ids[39] == BillingPeriodID(139))
        #expect(ids[0] == nil)
        #expect(ids.count == 16)
        #expect(ids.adding([(index: 39, id: BillingPeriodID(1))])[39] == BillingPeriodID(139))
    }
}
