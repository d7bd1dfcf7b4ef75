import BillingCore
import Testing
import Web

@testable import Identity

@Suite struct CredentialCacheTests {
    private let now = Instant(microseconds: 1_000_000_000)

    private func isKnown(_ cache: inout CredentialCache, _ id: String, afterSeconds: Int64 = 0) -> Bool? {
        switch cache.find(id, now: now.adding(seconds: afterSeconds)) {
        case .miss(_, let isKnown): isKnown
        case .hit, .absent: nil
        }
    }

    private func stored(revokedAt: Instant? = nil) -> StoredSecret {
        StoredSecret(
            tenantID: .operatorWide,
            scopes: [.quotasRead],
            hash: SecretHash(bytes: [1]),
            expiresAt: nil,
            revokedAt: revokedAt
        )
    }

    /// Whoever shows it next is nobody unknown, whatever failures its address has.
    @Test func whatIsStaleIsReadAgainAndStandsInForAQuarterOfAnHour() {
        var cache = CredentialCache()
        _ = cache.insert("valid", stored(), tenant: nil, now: now, generation: 0)
        cache.makeStale()
        #expect(cache.fresh("valid", now: now) == nil)
        #expect(isKnown(&cache, "valid") == true)
        #expect(cache.lastKnown("valid", now: now.adding(seconds: 900)) != nil)
        #expect(isKnown(&cache, "valid", afterSeconds: 900) == true)
        #expect(cache.lastKnown("valid", now: now.adding(seconds: 901)) == nil)
        #expect(isKnown(&cache, "valid", afterSeconds: 901) == false)
        #expect(isKnown(&cache, "other") == false)
    }

    @Test func whatAChangeWasAnnouncedOfStandsInNoMore() {
        var cache = CredentialCache()
        for id in ["changed", "revoked"] { _ = cache.insert(id, stored(), tenant: nil, now: now, generation: 0) }
        cache.makeStale()
        cache.remove("changed")
        #expect(cache.lastKnown("changed", now: now) == nil)
        // The row was read before the removal, and says what stays true.
        #expect(cache.lastKnown("revoked", now: now) != nil)
        _ = cache.insert("revoked", stored(revokedAt: now), tenant: nil, now: now, generation: 0)
        #expect(cache.lastKnown("revoked", now: now) == nil)
    }

    @Test func whereAReadingIsOvertakenByAChangeWhatWasReadBeforeStandsInNoMore() {
        var cache = CredentialCache()
        for id in ["narrowed", "other"] { _ = cache.insert(id, stored(), tenant: nil, now: now, generation: 0) }
        cache.makeStale()
        guard case .miss(let generation, true) = cache.find("narrowed", now: now) else {
            Issue.record("it is to be known")
            return
        }
        cache.makeStale()
        _ = cache.insert("narrowed", stored(), tenant: nil, now: now, generation: generation)
        #expect(cache.lastKnown("narrowed", now: now) == nil)
        #expect(isKnown(&cache, "narrowed") == true, "it is read whatever failures its address has")
        #expect(cache.lastKnown("other", now: now) != nil)
    }

    @Test func whereEverythingIsForgottenNothingStandsInAndIDsStayKnown() {
        var cache = CredentialCache()
        _ = cache.insert("valid", stored(), tenant: nil, now: now, generation: 0)
        cache.forgetAll()
        #expect(cache.fresh("valid", now: now) == nil)
        #expect(cache.lastKnown("valid", now: now) == nil)
        #expect(isKnown(&cache, "valid", afterSeconds: 900) == true)
        #expect(isKnown(&cache, "valid", afterSeconds: 901) == false)
        _ = cache.insert("valid", stored(), tenant: nil, now: now, generation: 0)
        #expect(cache.lastKnown("valid", now: now) == nil, "it was read before")
    }

    @Test func anIDThatIsFoundGoneIsKnownNoMore() {
        var cache = CredentialCache()
        _ = cache.insert("valid", stored(), tenant: nil, now: now, generation: 0)
        cache.makeStale()
        guard case .miss(let generation, true) = cache.find("valid", now: now) else {
            Issue.record("it is to be known")
            return
        }
        _ = cache.insert("valid", nil, tenant: nil, now: now, generation: generation)
        #expect(cache.lastKnown("valid", now: now) == nil)
        #expect(isKnown(&cache, "valid", afterSeconds: 10) == false)
    }
}
