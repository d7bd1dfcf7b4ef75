import BillingCore
import Postgres
import TestSupport
import Testing

@testable import Catalog

@Suite struct CatalogFollowerTests {
    private static func follower(_ fixture: CatalogFixture, listens: Bool) -> CatalogFollower {
        CatalogFollower(
            catalog: fixture.catalog,
            listeningWith: listens ? fixture.configuration : nil,
            interval: .seconds(3_600),
            logger: .silent
        )
    }

    /// What was dropped may have been about any of them.
    @Test func afterAnOverflowNothingIsKnownOfTenants() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(2)
            let (catalog, follower) = (fixture.catalog, Self.follower(fixture, listens: false))
            let (wishes, reload) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
            _ = try await catalog.tenants(subjects: ["t1", "t2"])
            follower.follow(.notification(channel: CatalogNotification.channel, payload: "tenant:2"), reload)
            follower.follow(.reconnected, reload)
            #expect(catalog.lastKnownTenant(subject: "t1")?.id == TenantID(1))
            #expect(catalog.lastKnownTenant(subject: "t2") == nil)
            follower.follow(.overflowed, reload)
            #expect(catalog.lastKnownTenant(subject: "t1") == nil)
            #expect(try await catalog.tenant(key: "t1")?.id == TenantID(1))
            reload.finish()
            var wished = 0
            for await _ in wishes { wished += 1 }
            #expect(wished == 1)
        }
    }

    @Test func aReadingThatAnOverflowOvertakesIsNotKept() {
        var cached = CachedTenants(capacity: 10)
        let (ticket, _) = cached.beginLoad()
        cached.forgetAll()
        let tenant = TenantSnapshot(
            id: TenantID(1),
            key: "t1",
            name: "T",
            currency: .usd,
            zone: .utc,
            catalogVersion: 1
        )
        let entries = [SubjectDirectory.Entry(subject: "t1", tenantID: TenantID(1))]
        cached.finishLoad(ticket, LoadedTenants(entries: entries, tenants: [tenant]))
        #expect(cached.cachedCount == 0)
    }

    @Test func aChangedTenantDoesNotWaitForACatalogueThatIsBeingRead() async throws {
        try await CatalogFixture.run { fixture in
            let (catalog, pool) = (fixture.catalog, fixture.pool)
            try await fixture.addTenants(1)
            try await CatalogTests.running(Self.follower(fixture, listens: true)) {
                #expect(try await eventually { catalog.current.version == 1 })
                _ = try await catalog.tenant(key: "t1")
                let lock = Task { try await pool.holdTable("meter", lane: .ingest) }
                defer { lock.cancel() }
                #expect(try await eventually { try await pool.locks(on: "meter", granted: true) == 1 })
                let bumped = try await pool.transaction(.interactive) { try CatalogVersion.bump(in: $0) }
                #expect(try await eventually { try await pool.locks(on: "meter", granted: false) == 1 })
                try await pool.transaction(.interactive) { _ = try TenantLedger.lockAndBump(TenantID(1), in: $0) }
                #expect(try await eventually { catalog.cachedTenant(subject: "t1") == nil })
                // The catalogue is still being read.
                #expect(try await pool.locks(on: "meter", granted: false) == 1)
                lock.cancel()
                #expect(try await eventually { catalog.current.version == bumped })
            }
        }
    }

}
