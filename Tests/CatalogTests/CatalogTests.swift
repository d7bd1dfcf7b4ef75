import BillingCore
import Logging
import Postgres
import ServiceLifecycle
import TestSupport
import Testing

@testable import Catalog

@Suite struct CatalogTests {
    @Test func loadsOnlyTheTenantsAskedFor() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(2_000)
            let catalog = fixture.catalog
            #expect(catalog.cachedTenant(subject: "t1") == nil)
            let found = try await catalog.tenants(subjects: ["t1", "s2", "s3", "nobody"])
            #expect(found.mapValues(\.key) == ["t1": "t1", "s2": "t2", "s3": "t3"])
            #expect(catalog.cachedTenantCount == 3)
            #expect(catalog.cachedTenant(subject: "s2")?.id == TenantID(2))
            #expect(catalog.cachedTenant(subject: "nobody") == nil)
            #expect(try await catalog.tenant(key: "s2") == nil)
            #expect(try await catalog.tenant(key: "t2")?.id == TenantID(2))
            #expect(try await catalog.tenant(TenantID(7))?.key == "t7")
            #expect(try await catalog.tenant(TenantID(99_999)) == nil)
            #expect(catalog.cachedTenantCount == 4)
        }
    }

    @Test func anUnknownSubjectIsFoundOnceItIsRegistered() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(1)
            #expect(try await fixture.catalog.tenants(subjects: ["late"]).isEmpty)
            try await fixture.database.run("INSERT INTO subject_directory VALUES ('late', 1, false)")
            #expect(try await fixture.catalog.tenants(subjects: ["late"])["late"]?.id == TenantID(1))
        }
    }

    @Test func neverCachesMoreThanItsCapacity() async throws {
        try await CatalogFixture.run(capacity: 50) { fixture in
            try await fixture.addTenants(500)
            for start in stride(from: 1, through: 500, by: 100) {
                let found = try await fixture.catalog.tenants(subjects: (start..<start + 100).map { "t\($0)" })
                #expect(found.count == 100)
                #expect(fixture.catalog.cachedTenantCount <= 50)
            }
        }
    }

    @Test func tenantsShareTheirPlanVersion() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(3)
            try await fixture.subscribeEverybody()
            let first = try #require(try await fixture.catalog.tenant(key: "t1"))
            let others = try await fixture.catalog.tenants(subjects: ["t2", "t3"])
            let plan = try #require(first.subscriptions.first?.segments.first?.planVersion)
            #expect(others.count == 2)
            for tenant in others.values {
                #expect(tenant.subscriptions.first?.segments.first?.planVersion === plan)
            }
            let now = fixture.clock.now
            #expect(first.subscription(covering: now)?.period(containing: now)?.index == 10)
        }
    }

    @Test func remembersPeriodsOfCachedTenants() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(1)
            try await fixture.subscribeEverybody()
            let tenant = try #require(try await fixture.catalog.tenant(key: "t1"))
            let subscription = try #require(tenant.subscriptions.first)
            let period = try #require(subscription.period(containing: fixture.clock.now))
            #expect(subscription.billingPeriodIDs[period.index] == nil)
            let wanted = BillingPeriod.Wanted(
                tenantID: tenant.id,
                subscriptionID: subscription.id,
                index: period.index,
                interval: period.interval
            )
            let made = try await fixture.transaction { try BillingPeriodStore.ensure([wanted], in: $0) }
            fixture.catalog.remember(periods: made)
            let cached = try #require(fixture.catalog.cachedTenant(subject: "t1"))
            #expect(cached.subscriptions.first?.billingPeriodIDs[period.index] == made.first?.id)
            fixture.catalog.invalidate(tenant: tenant.id)
            let read = try #require(try await fixture.catalog.tenant(key: "t1"))
            #expect(read.subscriptions.first?.billingPeriodIDs[period.index] == made.first?.id)
        }
    }

    @Test func hearsOfChangesMadeByAnotherReplica() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(2)
            let follower = CatalogFollower(
                catalog: fixture.catalog,
                listeningWith: fixture.configuration,
                interval: .seconds(3_600),
                logger: .silent
            )
            try await Self.running(follower) {
                #expect(try await eventually { fixture.catalog.current.version == 1 })
                _ = try await fixture.catalog.tenants(subjects: ["t1", "t2"])
                try await fixture.transaction { _ = try TenantLedger.lockAndBump(TenantID(1), in: $0) }
                #expect(try await eventually { fixture.catalog.cachedTenant(subject: "t1") == nil })
                #expect(fixture.catalog.cachedTenant(subject: "t2") != nil)
                let bumped = try await fixture.transaction { try CatalogVersion.bump(in: $0) }
                #expect(try await eventually { fixture.catalog.current.version == bumped })
            }
        }
    }

    @Test func aLostListenerMeansAFullResyncAndWhatIsKnownMeanwhile() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(1)
            let follower = CatalogFollower(
                catalog: fixture.catalog,
                listeningWith: fixture.configuration,
                interval: .seconds(3_600),
                logger: .silent
            )
            try await Self.running(follower) {
                #expect(try await eventually { fixture.catalog.current.version == 1 })
                _ = try await fixture.catalog.tenant(key: "t1")
                try await fixture.database.run(
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE application_name LIKE '%listen' AND datname = current_database();
                    UPDATE catalog_version SET version = 9;
                    """
                )
                #expect(try await eventually { fixture.catalog.current.version == 9 })
                #expect(fixture.catalog.cachedTenant(subject: "t1") == nil)
                #expect(fixture.catalog.lastKnownTenant(subject: "t1")?.id == TenantID(1))
                _ = try await fixture.catalog.tenant(key: "t1")
                #expect(fixture.catalog.cachedTenant(subject: "t1")?.id == TenantID(1))
            }
        }
    }

    @Test func whatIsReadAgainOrChangedIsNotWhatItWasKnownToBe() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(2)
            let catalog = fixture.catalog
            _ = try await catalog.tenants(subjects: ["s1", "s2", "t2"])
            catalog.invalidateAllTenants()
            try await fixture.database.run("DELETE FROM subject_directory WHERE subject = 's1'")
            #expect(try await catalog.tenants(subjects: ["s1"]).isEmpty)
            #expect(catalog.lastKnownTenant(subject: "s1") == nil)
            #expect(catalog.lastKnownTenant(subject: "s2")?.id == TenantID(2))
            catalog.invalidate(tenantKey: "t2")
            #expect(catalog.lastKnownTenant(subject: "s2") == nil)
        }
    }

    @Test func manyWhoReadTheCatalogueAgainShareAReadingThatBeganAfterTheyAsked() async throws {
        try await CatalogFixture.run { fixture in
            let (catalog, pool) = (fixture.catalog, fixture.pool)
            try await catalog.reload()
            try await fixture.transaction { _ = try CatalogVersion.bump(in: $0) }
            let before = pool.statistics(of: .interactive).leases
            let lock = Task { try await pool.holdTable("meter") }
            defer { lock.cancel() }
            #expect(try await eventually { try await pool.locks(on: "meter", lane: .worker) == 1 })
            async let first: Void = catalog.reload()
            #expect(try await eventually { try await pool.locks(on: "meter", granted: false, lane: .worker) == 1 })
            // The first reading has seen the version before.
            let newest = try await fixture.transaction { try CatalogVersion.bump(in: $0) }
            let seen: [Int64] = try await withThrowingTaskGroup(of: Int64.self) { group in
                for _ in 1...200 {
                    group.addImmediateTask {
                        try await catalog.reload()
                        return catalog.current.version
                    }
                }
                lock.cancel()
                return try await group.reduce(into: []) { $0.append($1) }
            }
            try await first
            #expect(Set(seen) == [newest] && seen.count == 200)
            #expect(pool.statistics(of: .interactive).leases - before <= 8)
        }
    }

    @Test func manyWhoReadATenantAgainTakeFewReadings() async throws {
        try await CatalogFixture.run { fixture in
            let (catalog, pool) = (fixture.catalog, fixture.pool)
            try await fixture.addTenants(1)
            _ = try await catalog.tenants(subjects: ["s1"])
            let before = pool.statistics(of: .interactive).leases
            let entry = try await pool.transaction(.worker) { transaction in
                try TenantLedger.lockAndBump(TenantID(1), in: transaction)
            }
            let bumped = try #require(entry).catalogVersion
            let seen: [Int64?] = try await withThrowingTaskGroup(of: Int64?.self) { group in
                for _ in 1...200 {
                    group.addImmediateTask {
                        catalog.invalidate(tenant: TenantID(1))
                        return try await catalog.tenants(subjects: ["s1"])["s1"]?.catalogVersion
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(seen == Array(repeating: bumped, count: 200))
            #expect(pool.statistics(of: .interactive).leases - before <= 20)
        }
    }

    @Test func noticesLostNotificationsByAsking() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(3)
            let follower = CatalogFollower(
                catalog: fixture.catalog,
                listeningWith: nil,
                interval: .milliseconds(20),
                logger: .silent
            )
            try await Self.running(follower) {
                _ = try await fixture.catalog.tenants(subjects: ["t1", "t2", "t3"])
                try await fixture.database.run(
                    """
                    UPDATE tenant_ledger SET catalog_version = 2 WHERE tenant_id = 2;
                    UPDATE catalog_version SET version = 5;
                    """
                )
                #expect(try await eventually { fixture.catalog.cachedTenant(subject: "t2") == nil })
                #expect(fixture.catalog.cachedTenantCount == 2)
                #expect(try await eventually { fixture.catalog.current.version == 5 })
            }
        }
    }

    /// Runs a service while the body does, and stops it gracefully.
    static func running(_ service: some Service, _ body: () async throws -> Void) async throws {
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: service, successTerminationBehavior: .ignore)],
                logger: .silent
            )
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            do {
                try await body()
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }
}
