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

    private func stored() -> StoredSecret {
        StoredSecret(
            tenantID: .operatorWide,
            scopes: [.quotasRead],
            hash: SecretHash(bytes: [1]),
            expiresAt: nil,
            revokedAt: nil
        )
    }

    /// Whoever shows it next is nobody unknown, whatever failures its address has.
    @Test func anIDThatWasValidStaysKnownForAQuarterOfAnHourAfterEverythingWasForgotten() {
        var cache = CredentialCache()
        _ = cache.insert("valid", stored(), tenant: nil, now: now, generation: 0)
        cache.removeAll()
        #expect(cache.lastKnown("valid", now: now) == nil)
        #expect(isKnown(&cache, "valid") == true)
        #expect(isKnown(&cache, "valid", afterSeconds: 899) == true)
        #expect(isKnown(&cache, "valid", afterSeconds: 900) == false)
        #expect(isKnown(&cache, "other") == false)
    }

    @Test func anIDThatIsFoundGoneIsKnownNoMore() {
        var cache = CredentialCache()
        _ = cache.insert("valid", stored(), tenant: nil, now: now, generation: 0)
        cache.removeAll()
        guard case .miss(let generation, true) = cache.find("valid", now: now) else {
            Issue.record("it is to be known")
            return
        }
        _ = cache.insert("valid", nil, tenant: nil, now: now, generation: generation)
        #expect(isKnown(&cache, "valid", afterSeconds: 10) == false)
    }
}
