import BillingCore
import Testing

@testable import Catalog

@Suite struct TenantCacheTests {
    private func tenant(_ id: Int64, version: Int64 = 1) -> TenantSnapshot {
        TenantSnapshot(id: TenantID(id), key: "t\(id)", name: "T", currency: .usd, zone: .utc, catalogVersion: version)
    }

    @Test func neverHoldsMoreThanItsCapacity() {
        var cache = TenantCache(capacity: 10)
        for id in 1...1_000 {
            cache.insert(tenant(Int64(id)), subject: "t\(id)")
            #expect(cache.count <= 10)
            #expect(cache.subjectCount <= 10)
        }
        #expect(cache.tenant(subject: "t1000")?.id == TenantID(1000))
    }

    @Test func manySubjectsOfOneTenantAreBoundedToo() {
        var cache = TenantCache(capacity: 10)
        for index in 1...1_000 {
            cache.insert(tenant(1), subject: "s\(index)")
            #expect(cache.subjectCount <= 40)
        }
    }

    @Test func whatIsUsedOutlivesWhatIsNot() {
        var cache = TenantCache(capacity: 4)
        for id in 1...4 { cache.insert(tenant(Int64(id)), subject: "t\(id)") }
        for id in 5...30 {
            #expect(cache.tenant(subject: "t1") != nil)
            cache.insert(tenant(Int64(id)), subject: "t\(id)")
        }
        #expect(cache.tenant(subject: "t1") != nil)
        #expect(cache.tenant(subject: "t2") == nil)
    }

    @Test func removalForgetsEverySubject() {
        var cache = TenantCache(capacity: 4)
        cache.insert(tenant(1), subject: "a")
        cache.insert(tenant(1), subject: "b")
        cache.remove(TenantID(1))
        #expect(cache.tenant(subject: "a") == nil)
        #expect(cache.tenant(subject: "b") == nil)
        #expect(cache.count == 0)
        #expect(cache.subjectCount == 0)
    }

    @Test func whatIsStaleIsKnownLastUntilItIsReadAgain() {
        var cache = TenantCache(capacity: 4)
        cache.insert(tenant(1), subject: "a")
        cache.insert(tenant(2), subject: "b")
        cache.makeStale()
        #expect(cache.tenant(subject: "a") == nil && cache.tenant(TenantID(1)) == nil)
        #expect(cache.lastKnown(subject: "a")?.id == TenantID(1))
        cache.insert(tenant(1), subject: nil)
        #expect(cache.tenant(subject: "a")?.id == TenantID(1))
        #expect(cache.tenant(subject: "b") == nil)
        cache.remove(TenantID(2))
        #expect(cache.lastKnown(subject: "b") == nil)
    }

    @Test func aSubjectThatMovesBelongsToItsLastTenant() {
        var cache = TenantCache(capacity: 4)
        cache.insert(tenant(1), subject: "a")
        cache.insert(tenant(2), subject: "a")
        #expect(cache.tenant(subject: "a")?.id == TenantID(2))
        cache.remove(TenantID(1))
        #expect(cache.tenant(subject: "a")?.id == TenantID(2))
    }

    @Test func anotherVersionHasTheSubjectsItIsReadUnder() {
        var cache = TenantCache(capacity: 4)
        cache.insert(tenant(1), subject: "a")
        cache.insert(tenant(1), subject: "b")
        cache.insert(tenant(1, version: 2), subject: "c")
        #expect(cache.tenant(subject: "a") == nil && cache.tenant(subject: "b") == nil)
        #expect(cache.tenant(subject: "c")?.catalogVersion == 2)
        #expect(cache.count == 1 && cache.subjectCount == 1)
    }

    @Test func pagesPassOverEveryTenantAndWrap() {
        var cache = TenantCache(capacity: 10)
        for id in 1...7 { cache.insert(tenant(Int64(id)), subject: nil) }
        var seen: Set<TenantID> = []
        var position = 0
        repeat {
            let page = cache.page(from: position, limit: 3)
            seen.formUnion(page.tenants.map(\.id))
            position = page.next
        } while position != 0
        #expect(seen.count == 7)
    }

    @Test func aTenantInvalidatedWhileItIsReadDoesNotEnter() {
        var cached = CachedTenants(capacity: 10)
        let (ticket, _) = cached.beginLoad()
        let loaded = LoadedTenants(
            entries: [.init(subject: "a", tenantID: TenantID(1)), .init(subject: "b", tenantID: TenantID(2))],
            tenants: [tenant(1), tenant(2)]
        )
        cached.invalidate(TenantID(1))
        cached.finishLoad(ticket, loaded)
        #expect(cached.tenant(subject: "a") == nil)
        #expect(cached.tenant(subject: "b") != nil)
    }

    @Test func nothingReadBeforeAResyncEnters() {
        var cached = CachedTenants(capacity: 10)
        let (ticket, _) = cached.beginLoad()
        cached.invalidateAll()
        cached.finishLoad(
            ticket,
            LoadedTenants(entries: [.init(subject: "a", tenantID: TenantID(1))], tenants: [tenant(1)])
        )
        #expect(cached.cachedCount == 0)
    }
}
