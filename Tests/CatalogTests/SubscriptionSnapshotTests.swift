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
            Dictionary(uniqueKeysWithValues: (-300..<40).map { ($0, BillingPeriodID(Int64($0) + 100)) })
        )
        #expect(ids[39] == BillingPeriodID(139))
        #expect(ids[-300] == nil)
        #expect(ids.count == 256)
        // As many segments as a subscription has at most.
        let segments = ids.adding((0..<200).map { Self.period(40, segment: $0, id: Int64($0) + 1_000) })
        #expect((0..<200).allSatisfy { segments[40, $0] == BillingPeriodID(Int64($0) + 1_000) })
        #expect(ids.adding([Self.period(39, id: 1)])[39] == BillingPeriodID(139))
        let split = ids.adding([Self.period(39, segment: 1, id: 2)])
        #expect(split[39] == BillingPeriodID(139))
        #expect(split[39, 1] == BillingPeriodID(2))
        #expect(split[39, 2] == nil)
    }

    private static func period(_ index: Int, segment: Int = 0, id: Int64) -> BillingPeriod {
        BillingPeriod(
            id: BillingPeriodID(id),
            tenantID: TenantID(1),
            subscriptionID: SubscriptionID(rawValue: UUIDv7(milliseconds: 1, random: (1, 1))),
            index: index,
            segment: segment,
            interval: .allTime,
            status: .open
        )
    }

    private func changed(to end: String? = nil) throws -> SubscriptionSnapshot {
        let starts = ["2026-01-31T00:00:00Z", "2026-03-10T00:00:00Z", "2026-03-31T00:00:00Z", "2026-05-01T00:00:00Z"]
        return SubscriptionSnapshot(
            id: SubscriptionID(rawValue: UUIDv7(milliseconds: 1, random: (1, 1))),
            segments: try starts.enumerated().map { ordinal, start in
                SubscriptionSegment(ordinal: ordinal, startsAt: try Self.instant(start), published: Self.plan)
            },
            periods: BillingPeriods(anchor: try Self.instant(starts[0]), zone: .utc),
            startsAt: try Self.instant(starts[0]),
            endsAt: try end.map(Self.instant),
            billingPeriodIDs: BillingPeriodIDs().adding([
                Self.period(1, id: 10), Self.period(1, segment: 1, id: 11),
            ])
        )
    }

    @Test func segmentsTileThePeriodTheyFallIn() throws {
        let subscription = try changed()
        // Period 1 is from 28 February to 31 March: the second change comes exactly at its end.
        let parts = subscription.segments(inPeriod: 1)
        #expect(parts.map(\.segment.ordinal) == [0, 1])
        #expect(parts.map(\.billingPeriodID) == [BillingPeriodID(10), BillingPeriodID(11)])
        let change = try Self.instant("2026-03-10T00:00:00Z")
        let period = subscription.periods.interval(1)
        #expect(
            parts.map(\.interval) == [
                Interval(start: period.start, end: change), Interval(start: change, end: period.end),
            ]
        )
        #expect(subscription.segments(inPeriod: 0).map(\.segment.ordinal) == [0])
        #expect(subscription.segments(inPeriod: 2).map(\.segment.ordinal) == [2])
        #expect(subscription.segments(inPeriod: 3).map(\.segment.ordinal) == [2, 3])
        #expect(subscription.segments(inPeriod: 40).map(\.segment.ordinal) == [3])
        for index in 0..<5 {
            let parts = subscription.segments(inPeriod: index)
            let length = parts.reduce(0) { $0 + $1.interval.microseconds }
            #expect(length == subscription.periods.interval(index).microseconds)
        }
    }

    @Test func theSegmentInForceIsTheLastThatStarted() throws {
        let subscription = try changed()
        for (time, ordinal) in [
            ("2026-01-01T00:00:00Z", 0), ("2026-03-09T23:59:59.999999Z", 0), ("2026-03-10T00:00:00Z", 1),
            ("2026-04-30T23:59:59Z", 2), ("2030-01-01T00:00:00Z", 3),
        ] {
            #expect(subscription.segment(at: try Self.instant(time)).ordinal == ordinal)
        }
    }

    @Test func anEndCutsTheSegments() throws {
        let subscription = try changed(to: "2026-03-20T00:00:00Z")
        let parts = subscription.segments(inPeriod: 1)
        #expect(parts.map(\.segment.ordinal) == [0, 1])
        #expect(parts.last?.interval.end == (try Self.instant("2026-03-20T00:00:00Z")))
        #expect(subscription.segments(inPeriod: 2).isEmpty)
    }

    @Test func theTrialIsThePeriodBeforeTheAnchor() throws {
        let start = try Self.instant("2026-01-17T00:00:00Z")
        let anchor = try Self.instant("2026-03-31T00:00:00Z")
        let subscription = SubscriptionSnapshot(
            id: SubscriptionID(rawValue: UUIDv7(milliseconds: 1, random: (1, 1))),
            planVersion: Self.plan,
            periods: BillingPeriods(anchor: anchor, zone: .utc),
            startsAt: start
        )
        let trial = Interval(start: start, end: anchor)
        #expect(subscription.trial == trial)
        let found = subscription.period(containing: try Self.instant("2026-03-30T23:59:59Z"))
        #expect(found?.index == -1)
        #expect(found?.interval == trial)
        #expect(subscription.period(containing: anchor)?.index == 0)
        #expect(subscription.segments(inPeriod: -1).map(\.interval) == [trial])
        #expect(subscription.segments(inPeriod: 0).map(\.interval) == [subscription.periods.interval(0)])
    }
}
