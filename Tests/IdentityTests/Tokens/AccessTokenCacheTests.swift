import BillingCore
import Crypto
import TestSupport
import Testing
import Web

@testable import Identity

/// What is remembered of verified tokens, for how long, and how much of it.
@Suite struct AccessTokenCacheTests {
    private let start = TestClock().now

    private func token(_ client: String = "a", lifetimeSeconds: Int64 = 900) -> AccessToken {
        AccessToken(
            id: IDSource.random(.system).next(),
            clientID: client,
            scopes: [],
            tenantKey: nil,
            now: start,
            lifetimeSeconds: lifetimeSeconds
        )
    }

    private func digest(_ number: Int) -> SHA256Digest { SHA256.hash(data: Array("\(number)".utf8)) }

    private func insert(_ number: Int, _ token: AccessToken, into cache: inout AccessTokenCache) {
        guard case .miss(let generation) = cache.find(digest(number), now: start) else { return }
        cache.insert(digest(number), token, .anonymous, now: start, generation: generation)
    }

    private func isHit(_ finding: AccessTokenCache.Finding) -> Bool { if case .hit = finding { true } else { false } }
    private func isVerified(_ finding: AccessTokenCache.Finding) -> Bool {
        if case .verified = finding { true } else { false }
    }
    private func isMiss(_ finding: AccessTokenCache.Finding) -> Bool { if case .miss = finding { true } else { false } }

    @Test func afterASecondOneAsksAndAfterTwoNobodyBelieves() {
        var cache = AccessTokenCache()
        insert(1, token(), into: &cache)
        #expect(isHit(cache.find(digest(1), now: start.adding(microseconds: 999_999))))
        let second = start.adding(seconds: 1)
        #expect(!isHit(cache.find(digest(1), now: second)))
        #expect(isHit(cache.find(digest(1), now: second)))
        // However long the one that asks takes, nobody goes on with what is two seconds old.
        #expect(!isHit(cache.find(digest(1), now: start.adding(seconds: 2))))
        #expect(!isHit(cache.find(digest(1), now: start.adding(seconds: 2))))
        #expect(!isMiss(cache.find(digest(1), now: start.adding(seconds: 2))))
    }

    @Test func anExpiredTokenIsForgottenThoughItIsFresh() {
        var cache = AccessTokenCache()
        insert(1, token(lifetimeSeconds: 0), into: &cache)
        #expect(isMiss(cache.find(digest(1), now: start)))
    }

    @Test func whatWasReadBeforeAChangeIsNotKeptAfterIt() {
        var cache = AccessTokenCache()
        guard case .miss(let generation) = cache.find(digest(1), now: start) else { return }
        cache.forget { _, _ in false }
        cache.insert(digest(1), token(), .anonymous, now: start, generation: generation)
        #expect(isMiss(cache.find(digest(1), now: start)))
    }

    @Test func whatChangedIsForgottenAndTheRestStays() {
        var cache = AccessTokenCache()
        insert(1, token("a"), into: &cache)
        insert(2, token("b"), into: &cache)
        cache.forget { token, _ in token.clientID == "a" }
        #expect(isVerified(cache.find(digest(1), now: start)), "its client is asked, its signature is not")
        #expect(isVerified(cache.find(digest(1), now: start)))
        #expect(cache.fresh(digest(1), now: start) == nil)
        #expect(isHit(cache.find(digest(2), now: start)))
    }

    @Test func forAQuarterOfAnHourItIsLastKnownWhomATokenSpeaksFor() {
        var cache = AccessTokenCache()
        insert(1, token(lifetimeSeconds: 3_600), into: &cache)
        insert(2, token("b", lifetimeSeconds: 60), into: &cache)
        #expect(cache.lastKnown(digest(1), now: start.adding(seconds: 900)) != nil)
        #expect(cache.lastKnown(digest(1), now: start.adding(microseconds: 900_000_001)) == nil)
        #expect(cache.lastKnown(digest(2), now: start.adding(seconds: 59)) != nil)
        #expect(cache.lastKnown(digest(2), now: start.adding(seconds: 60)) == nil, "the token has expired")
        cache.forget { token, _ in token.clientID == "a" }
        #expect(cache.lastKnown(digest(1), now: start) == nil, "its client has changed")
        cache.refuse(digest(2), .revoked, now: start, generation: 0)
        #expect(cache.lastKnown(digest(2), now: start) == nil, "it was revoked")
    }

    @Test func whatIsStaleIsAskedAgainAndStandsInMeanwhile() {
        var cache = AccessTokenCache()
        for number in 1...3 { insert(number, token("\(number)", lifetimeSeconds: 3_600), into: &cache) }
        cache.makeStale()
        #expect(cache.fresh(digest(1), now: start) == nil)
        for _ in 1...2 { #expect(isVerified(cache.find(digest(1), now: start)), "nobody goes on with it") }
        #expect(cache.lastKnown(digest(1), now: start.adding(seconds: 900)) != nil)
        #expect(cache.lastKnown(digest(1), now: start.adding(seconds: 901)) == nil)
        cache.forget { token, _ in token.clientID == "2" }
        #expect(cache.lastKnown(digest(2), now: start) == nil, "its client has changed")
        cache.refuse(digest(3), .client, now: start, generation: 0)
        #expect(cache.lastKnown(digest(3), now: start) == nil, "it was refused, whatever has changed since")
    }

    @Test func whereAskingIsOvertakenByAChangeWhomATokenSpokeForBeforeStandsInNoMore() {
        var cache = AccessTokenCache()
        for number in 1...2 { insert(number, token("\(number)"), into: &cache) }
        cache.makeStale()
        guard case .verified(let token, let generation) = cache.find(digest(1), now: start) else {
            Issue.record("its client is to be asked")
            return
        }
        cache.makeStale()
        cache.insert(digest(1), token, .anonymous, now: start, generation: generation)
        #expect(cache.lastKnown(digest(1), now: start) == nil)
        #expect(isVerified(cache.find(digest(1), now: start)), "its signature is good all the same")
        #expect(cache.lastKnown(digest(2), now: start) != nil)
    }

    @Test func aRevocationIsRememberedThoughItWasAnnouncedAfterItWasRead() {
        var cache = AccessTokenCache()
        guard case .miss(let generation) = cache.find(digest(1), now: start) else { return }
        cache.forget { _, _ in true }
        cache.refuse(digest(1), .revoked, now: start, generation: generation)
        cache.refuse(digest(2), .client, now: start, generation: generation)
        cache.forget { _, _ in true }
        if case .refused(.revoked) = cache.find(digest(1), now: start) {} else { Issue.record("it was forgotten") }
        #expect(isMiss(cache.find(digest(2), now: start)))
        #expect(isMiss(cache.find(digest(1), now: start.adding(seconds: 2))))
    }

    @Test func anIssuedTokenIsNobodyUnknownAndSpeaksForNobodyYet() {
        var cache = AccessTokenCache()
        cache.note(digest(1), token(), now: start)
        #expect(isVerified(cache.find(digest(1), now: start)))
        #expect(cache.fresh(digest(1), now: start) == nil)
        #expect(isMiss(cache.find(digest(1), now: start.adding(seconds: 900))))
        for number in 2...AccessTokenCache.capacity { insert(number, token(), into: &cache) }
        cache.note(digest(0), token(), now: start)
        #expect(isMiss(cache.find(digest(0), now: start)), "no room, and none is made")
        #expect(isHit(cache.find(digest(2), now: start)))
    }

    @Test func itHoldsSoManyAndNoMore() {
        var cache = AccessTokenCache()
        let token = token()
        for number in 0...AccessTokenCache.capacity { insert(number, token, into: &cache) }
        let held = (0...AccessTokenCache.capacity).count { isHit(cache.find(digest($0), now: start)) }
        #expect((1...AccessTokenCache.capacity).contains(held))
        #expect(isHit(cache.find(digest(AccessTokenCache.capacity), now: start)))
    }
}
